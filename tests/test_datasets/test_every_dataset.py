"""What holds for every data set: colours, pipelines, pre-training."""

import pytest
import torch
from mmengine.dataset import default_collate
from mmpretrain.models import ClsDataPreprocessor
from torch.utils.data import DataLoader
from true_formats import RED, noise, write_cifar, write_rgb, write_stl10, write_tiny_imagenet

from amt_mm.datasets import CIFAR10, CIFAR100, dataset_fingerprint, whole_image_view
from amt_mm.registry import DATASETS

NAMES = ['cifar10', 'cifar100', 'stl10', 'stl10 unlabeled', 'tiny-imagenet', 'imagenet', 'folder',
         'scenes']
CROP = dict(type='amt_mm.RandomResizedCropWithBox', scale=(16, 24), crop_ratio_range=(.2, 1.))
# For file data sets and those with images in memory.
PRETRAIN = [dict(type='amt_mm.LoadImage'), CROP, dict(type='RandomFlip', prob=.5),
            dict(type='amt_mm.PackInputsWithBox')]
PROBE = [dict(type='amt_mm.LoadImage'), dict(type='ResizeEdge', scale=36, edge='short'),
         dict(type='CenterCrop', crop_size=32), dict(type='PackInputs')]


@pytest.fixture
def build(tmp_path, monkeypatch):
    """The factory ``build(name, pipeline, images)`` of data sets; images are RGB, 96 x 96."""

    def make(name, pipeline, images):
        root = tmp_path / name
        settings = dict(data_root=str(root), pipeline=pipeline)
        labels = [0] * len(images)
        if name.startswith('cifar'):
            cls = CIFAR10 if name == 'cifar10' else CIFAR100
            write_cifar(monkeypatch, root, images[:, :32, :32], labels, 'train', cls)
            settings.update(type=f'amt_mm.{cls.__name__}')
        elif name == 'stl10':
            write_stl10(root, images, 'train', labels)
            settings.update(type='amt_mm.STL10')
        elif name == 'stl10 unlabeled':
            write_stl10(root, images, 'unlabeled')
            settings.update(type='amt_mm.STL10', split='unlabeled')
        elif name == 'tiny-imagenet':
            write_tiny_imagenet(root, ['n00000002'], len(images), 0, images[:, :64, :64])
            settings.update(type='amt_mm.TinyImageNet')
        elif name == 'scenes':
            settings = dict(type='amt_mm.SceneDataset', num_samples=len(images), image_size=48,
                            pipeline=pipeline)
        else:
            for number, image in enumerate(images):
                write_rgb(root / 'train' / 'n00000002' / f'{number}.JPEG', image)
            settings.update(type='amt_mm.ImageNet', split='train', classes=['thing'])
            if name == 'folder':
                settings.update(type='amt_mm.ImageFolder', split='all')
                del settings['classes']
        return DATASETS.build(settings)

    return make


@pytest.mark.slow
@pytest.mark.parametrize('name', [name for name in NAMES if name != 'scenes'])
def test_red_is_red_under_one_preprocessor(build, name):
    mean, std = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]
    preprocessor = ClsDataPreprocessor(mean=mean, std=std, to_rgb=True)
    sample = build(name, PROBE, RED[None])[0]
    inputs = preprocessor(default_collate([sample]))['inputs']
    assert inputs.shape == (1, 3, 32, 32)
    wanted = (torch.tensor([255., 0., 0.]) - torch.tensor(mean)) / torch.tensor(std)
    # JPEG's red is 254.
    torch.testing.assert_close(inputs, wanted.view(1, 3, 1, 1).expand_as(inputs), atol=.03, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_pre_training_sees_crops_and_whole_images(build, name):
    dataset = build(name, PRETRAIN, noise(5, 96))
    view = whole_image_view(dataset)
    assert [view[i]['data_samples'].sample_idx for i in range(len(view))] == [0, 1, 2, 3, 4]
    assert view[3]['inputs'].shape == (3, 16, 24)
    assert torch.equal(view[3]['inputs'], view[3]['inputs'])
    assert len({bytes(view[i]['inputs'].numpy()) for i in range(5)}) == 5
    loader = DataLoader(dataset, 2, collate_fn=default_collate, num_workers=1)
    batches = list(loader)
    assert [len(batch['data_samples']) for batch in batches] == [2, 2, 1]
    assert all('crop_box' in s for batch in batches for s in batch['data_samples'])


@pytest.mark.slow
@pytest.mark.parametrize('name', NAMES)
def test_fingerprint_depends_on_the_samples_taken(build, name):
    dataset = build(name, PROBE, noise(5, 96))
    whole = dataset_fingerprint(dataset)
    assert dataset_fingerprint(dataset.get_subset([0, 1, 2, 3, 4])) == whole
    others = {dataset_fingerprint(dataset.get_subset(part)) for part in ([0, 1, 2, 3], [1, 0, 2])}
    assert len(others | {whole}) == 3
