import numpy as np
import pytest
from mmpretrain.datasets import CIFAR10 as TheirCIFAR10
from true_formats import noise, write_cifar

from amt_mm.datasets import CIFAR10, CIFAR100
from amt_mm.errors import InputError


@pytest.mark.parametrize(('cls', 'labels'), [(CIFAR10, [9, 0, 3, 3, 7, 1, 2]),
                                             (CIFAR100, [99, 0, 42, 3, 7, 1, 2])])
@pytest.mark.parametrize('split', ['train', 'test'])
def test_images_are_bgr_in_the_order_of_the_batches(tmp_path, monkeypatch, cls, labels, split):
    images = noise(7, 32)
    write_cifar(monkeypatch, tmp_path, images, labels, split, cls)
    dataset = cls(data_root=str(tmp_path), split=split)
    assert len(dataset) == 7 and dataset.get_gt_labels().tolist() == labels
    assert len(dataset.CLASSES) == (10 if cls is CIFAR10 else 100)
    for index, image in enumerate(images):
        info = dataset[index]
        np.testing.assert_array_equal(info['img'], image[:, :, ::-1])
        assert info['img'].dtype == np.uint8 and info['img'].flags.c_contiguous
        assert info['img_shape'] == info['ori_shape'] == (32, 32)
        assert info['sample_idx'] == index and info['gt_label'] == labels[index]


def test_only_the_channel_order_differs_from_mmpretrain(tmp_path, monkeypatch):
    write_cifar(monkeypatch, tmp_path, noise(5, 32), [1, 2, 3, 4, 5], 'train')
    write_cifar(monkeypatch, tmp_path, noise(2, 32, seed=1), [6, 7], 'test')
    monkeypatch.setattr(TheirCIFAR10, 'train_list', CIFAR10.train_list)
    monkeypatch.setattr(TheirCIFAR10, 'test_list', CIFAR10.test_list)
    theirs = TheirCIFAR10(data_root=str(tmp_path), split='test', download=False)
    ours = CIFAR10(data_root=str(tmp_path), split='test')
    assert ours.metainfo == theirs.metainfo
    for index in range(2):
        np.testing.assert_array_equal(ours[index]['img'][:, :, ::-1], theirs[index]['img'])
        assert ours[index]['gt_label'] == theirs[index]['gt_label']


@pytest.mark.parametrize(('cls', 'name'), [(CIFAR10, 'cifar10'), (CIFAR100, 'cifar100')])
def test_a_missing_folder_names_the_path_and_the_command(tmp_path, monkeypatch, cls, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        cls(data_root=f'data/{name}')
    assert str(caught.value) == (
        f'data/{name}/{cls.base_folder}: does not exist; get the data set by: '
        f'amt download {name} --root data')
    assert not (tmp_path / 'data').exists(), 'nothing is downloaded'


def test_a_missing_or_changed_batch_is_named(tmp_path, monkeypatch):
    write_cifar(monkeypatch, tmp_path, noise(5, 32), [0] * 5, 'train')
    batch = tmp_path / 'cifar-10-batches-py' / 'data_batch_4'
    content = batch.read_bytes()
    batch.write_bytes(content[:-1] + b'!')
    with pytest.raises(InputError, match=r'data_batch_4: its md5 is not \w+; move .*--root'):
        CIFAR10(data_root=str(tmp_path))
    batch.unlink()
    with pytest.raises(InputError, match='data_batch_4: is missing; get'):
        CIFAR10(data_root=str(tmp_path))


@pytest.mark.parametrize('arguments', [{'split': 'val', 'data_root': 'x'}, {'data_root': ''}])
def test_arguments(arguments):
    with pytest.raises(InputError, match='split=|data_root is empty'):
        CIFAR10(**arguments)
