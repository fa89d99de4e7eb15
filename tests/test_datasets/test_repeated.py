import amt_mm.registry  # noqa: F401  isort: skip  before mmpretrain

import numpy as np
import pytest
from mmengine.dataset import DefaultSampler
from mmengine.registry import FUNCTIONS
from torch.utils.data import DataLoader

from amt_mm.datasets import (
    ConcatDataset,
    RepeatedCrops,
    collate_repeats,
    dataset_fingerprint,
    whole_image_view,
)
from amt_mm.errors import InputError


def repeated(repeats=3, **crop):
    return [dict(type='amt_mm.RepeatedCrops', repeats=repeats, transforms=[
        dict(type='amt_mm.RandomResizedCropWithBox', scale=(24, 32),
             **{'interpolation': 'nearest', **crop}),
        dict(type='RandomFlip', prob=.5),
        dict(type='amt_mm.PackInputsWithBox')])]


def coordinates(height, width):
    """An image whose pixels encode their position."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, rows * 0], -1).astype(np.uint8)


def test_each_crop_has_its_own_box_and_flip(toy_images):
    sizes = [(60, 90), (71, 64), (50, 50)]
    dataset = toy_images([coordinates(*size) for size in sizes], pipeline=repeated(8))
    flips = []
    np.random.seed(0)
    for (height, width), sample in zip(sizes, dataset, strict=True):
        packed = sample['data_samples']
        assert len({s.crop_box for s in packed}) == 8
        flips.append({s.flip for s in packed})
        assert len({s.sample_idx for s in packed}) == 1
        for inputs, one in zip(sample['inputs'], packed, strict=True):
            x0, y0, x1, y1 = one.crop_box
            rows, columns = inputs[0].float(), inputs[1].float()
            assert rows.min() == round(y0 * height)
            assert columns.min() == round(x0 * width)
            assert rows.max() < round(y1 * height) and columns.max() < round(x1 * width)
            assert (columns[0, 0] > columns[0, -1]) == one.flip
    assert {True, False} in flips


@pytest.mark.parametrize('repeats', [1, 2])
def test_batches(toy_images, repeats):
    dataset = toy_images(5, pipeline=repeated(repeats))
    loader = DataLoader(dataset, batch_size=2, sampler=DefaultSampler(dataset, shuffle=False),
                        collate_fn=FUNCTIONS.get('amt_mm.collate_repeats'))
    batches = list(loader)
    assert [tuple(batch['inputs'].shape) for batch in batches] == [
        (n * repeats, 3, 24, 32) for n in (2, 2, 1)]
    found = [sample.sample_idx for batch in batches for sample in batch['data_samples']]
    assert found == [i for i in range(5) for _ in range(repeats)]


def test_indices_of_a_concatenation_are_unique_across_children(toy_images):
    both = ConcatDataset([toy_images(2, pipeline=repeated(2)), toy_images(3, pipeline=repeated(2))])
    batch = collate_repeats([both[i] for i in range(5)])
    assert [s.sample_idx for s in batch['data_samples']] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_the_whole_image_view_has_each_image_once(toy_images):
    once = toy_images(4)
    dataset = toy_images(4, pipeline=repeated(2))
    view = whole_image_view(dataset)
    assert len(view) == 4
    for i in range(4):
        assert view[i]['inputs'].shape == (3, 24, 32)
        assert view[i]['data_samples'].sample_idx == i
    assert dataset_fingerprint(dataset) == dataset_fingerprint(once)


def test_refuses_less_than_one_repeat():
    with pytest.raises(InputError, match='at least 1'):
        RepeatedCrops([], repeats=0)
