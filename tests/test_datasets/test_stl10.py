import copy
import pickle

import numpy as np
import pytest
import torchvision
from torch.utils.data import DataLoader
from true_formats import noise, write_stl10

from amt_mm.datasets import STL10, ConcatDataset, StagedDataset, pack
from amt_mm.errors import InputError


@pytest.fixture
def root(tmp_path):
    root = tmp_path / 'stl10_binary'
    write_stl10(root, noise(3, 96), 'train', [9, 0, 4])
    write_stl10(root, noise(2, 96, seed=1), 'test', [7, 7])
    write_stl10(root, noise(4, 96, seed=2), 'unlabeled')
    return root


@pytest.mark.parametrize(('split', 'seeds', 'labels'), [
    ('train', [(3, 0)], [9, 0, 4]), ('test', [(2, 1)], [7, 7]), ('unlabeled', [(4, 2)], None),
    ('train+unlabeled', [(3, 0), (4, 2)], None)])
def test_images_and_labels(root, split, seeds, labels):
    dataset = STL10(data_root=str(root), split=split)
    wanted = np.concatenate([noise(count, 96, seed) for count, seed in seeds])
    assert len(dataset) == len(wanted)
    for index, image in enumerate(wanted):
        info = dataset[index]
        np.testing.assert_array_equal(info['img'], image[:, :, ::-1])
        assert info['img'].dtype == np.uint8 and info['img'].flags.c_contiguous
        assert info['img_shape'] == info['ori_shape'] == (96, 96)
        assert info['sample_idx'] == index
        assert info.get('gt_label') == (labels and labels[index])
    if labels:
        assert dataset.get_gt_labels().tolist() == labels


def test_equals_torchvision(root, monkeypatch):
    monkeypatch.setattr(torchvision.datasets.STL10, '_check_integrity', lambda self: True)
    theirs = torchvision.datasets.STL10(str(root.parent), 'train')
    ours = STL10(data_root=str(root))
    for index in range(3):
        image, label = theirs[index]
        np.testing.assert_array_equal(ours[index]['img'][:, :, ::-1], np.asarray(image))
        assert ours[index]['gt_label'] == label


def test_names_and_labels_are_read_without_images(root, monkeypatch):
    # As the fingerprint needs: reading all 2.7 GB would take as long as an epoch.
    dataset = STL10(data_root=str(root))
    monkeypatch.setattr(np, 'fromfile', None)
    assert [dataset.get_data_info(i)['img_path'] for i in range(3)] == [
        'train_X.bin[0]', 'train_X.bin[1]', 'train_X.bin[2]']
    assert dataset.get_cat_ids(0) == [9]


def test_workers_receive_names_but_no_images(root):
    dataset = STL10(data_root=str(root), split='train+unlabeled')
    dataset[0]
    assert len(pickle.dumps(dataset)) < 96 * 96, 'less than one colour of one image'
    loader = DataLoader(dataset, 3, num_workers=2, multiprocessing_context='fork',
                        collate_fn=lambda samples: [sample['img'] for sample in samples])
    seen = np.stack([image for batch in loader for image in batch])
    np.testing.assert_array_equal(seen[:3, :, :, ::-1], noise(3, 96))
    np.testing.assert_array_equal(seen[3:, :, :, ::-1], noise(4, 96, seed=2))


def test_subsets_keep_their_images(root):
    dataset = STL10(data_root=str(root), split='unlabeled', indices=[3, 1])
    images = noise(4, 96, seed=2)
    np.testing.assert_array_equal(dataset[0]['img'], images[3][:, :, ::-1])
    subset = copy.deepcopy(dataset).get_subset([1])
    np.testing.assert_array_equal(subset[0]['img'], images[1][:, :, ::-1])


def test_a_missing_folder_names_the_path_and_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError) as caught:
        STL10(data_root='data/stl10_binary/', split='test')
    assert str(caught.value) == (
        'data/stl10_binary/: does not exist; get the data set by: '
        'amt download stl10 --root data')


def damage(folder, kind):
    images, labels = folder / 'train_X.bin', folder / 'train_y.bin'
    if kind == 'truncated':
        images.write_bytes(images.read_bytes()[:-5])
    elif kind == 'empty':
        images.write_bytes(b'')
    elif kind == 'no labels':
        labels.unlink()
    elif kind == 'fewer labels':
        labels.write_bytes(b'\1\2')
    else:
        labels.write_bytes(b'\1\13\2')


@pytest.mark.parametrize(('kind', 'message'), [
    ('truncated', r'train_X.bin: 82939 bytes are not a multiple of the 27648 bytes of an image'),
    ('empty', r'train_X.bin: 0 bytes are not a multiple .*'),
    ('no labels', r'train_y.bin: is missing'),
    ('fewer labels', r'train_y.bin: 2 labels for 3 images'),
    ('wrong label', r'train_y.bin: label 11 at position 1 is not in 1..10')])
def test_damaged_files_are_named(root, kind, message):
    damage(root, kind)
    with pytest.raises(InputError, match=message + '; .*stl10 --root ') as caught:
        STL10(data_root=str(root))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('arguments', [{'split': 'val', 'data_root': 'x'}, {'data_root': ''}])
def test_arguments(arguments):
    with pytest.raises(InputError, match='split=|data_root is empty'):
        STL10(**arguments)


@pytest.mark.parametrize('use', [
    StagedDataset, lambda dataset: pack(dataset, 'never_written.amtpack'),
    lambda dataset: pack(ConcatDataset([dataset]), 'never_written.amtpack')])
def test_what_would_not_read_its_images_refuses_it(root, use):
    with pytest.raises(InputError, match='STL10 reads its images itself'):
        use(STL10(data_root=str(root), pipeline=[dict(type='amt_mm.LoadImage')]))
