import amt_mm.registry  # noqa: F401  isort: skip  before mmpretrain

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import RandomFlip, Resize
from mmpretrain.datasets import RandomResizedCrop
from mmpretrain.registry import TRANSFORMS as MMPRETRAIN_TRANSFORMS

from amt_mm.datasets import PackInputsWithBox, RandomResizedCropWithBox
from amt_mm.errors import InputError
from amt_mm.models import AMTDataPreprocessor
from amt_mm.saliency import SaliencyStore, SaliencyWriter


def picture(height, width, channels=3, seed=0):
    shape = (height, width, channels) if channels else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


CROPS = [
    dict(scale=16), dict(scale=(24, 40)), dict(scale=16, crop_ratio_range=(.2, 1.0)),
    dict(scale=(16, 8), interpolation='bicubic', backend='pillow'),
    dict(scale=16, crop_ratio_range=(.9, 1.0), aspect_ratio_range=(3., 4.)),  # centred
    dict(scale=16, max_attempts=0)]


@pytest.mark.parametrize('size', [(37, 61), (61, 37), (48, 48), (20, 90), (1, 3)])
@pytest.mark.parametrize('kwargs', CROPS)
def test_crops_as_mmpretrain_does(kwargs, size):
    # Recording the box draws nothing: pixels and random stream stay the same.
    ours, theirs = RandomResizedCropWithBox(**kwargs), RandomResizedCrop(**kwargs)
    image = picture(*size)
    for seed in range(8):
        np.random.seed(seed)
        wanted = theirs({'img': image.copy()})
        after = np.random.random()
        np.random.seed(seed)
        found = ours({'img': image.copy()})
        assert np.random.random() == after
        np.testing.assert_array_equal(found['img'], wanted['img'])
        assert found['img_shape'] == wanted['img_shape']


@pytest.mark.parametrize('kwargs', CROPS)
@pytest.mark.parametrize('channels', [3, 1, 0])
def test_the_box_is_where_the_pixels_come_from(kwargs, channels):
    height, width = 37, 61
    image = picture(height, width, channels)
    crop = RandomResizedCropWithBox(**{**kwargs, 'interpolation': 'nearest', 'backend': 'cv2'})
    boxes = set()
    for seed in range(12):
        np.random.seed(seed)
        found = crop({'img': image.copy()})
        x0, y0, x1, y1 = found['crop_box']
        boxes.add(found['crop_box'])
        left, right = round(x0 * width), round(x1 * width)
        top, bottom = round(y0 * height), round(y1 * height)
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        np.testing.assert_allclose([x0 * width, x1 * width, y0 * height, y1 * height],
                                   [left, right, top, bottom], atol=1e-9)
        out = cv2.resize(image[top:bottom, left:right], crop.scale[::-1],
                         interpolation=cv2.INTER_NEAREST)
        np.testing.assert_array_equal(found['img'].squeeze(), out.squeeze())
    if kwargs.get('max_attempts') != 0 and 'aspect_ratio_range' not in kwargs:
        assert len(boxes) > 8


def test_the_box_is_relative_to_the_input_of_the_crop():
    crop = RandomResizedCropWithBox(scale=16, crop_ratio_range=(1., 1.),
                                    aspect_ratio_range=(2., 2.))
    results = Resize(scale=(40, 20))({'img': picture(37, 61)})
    assert crop(results)['crop_box'] == (0, 0, 1, 1)


def test_a_flip_before_the_crop_is_refused():
    results = RandomFlip(prob=1.)({'img': picture(37, 61)})
    with pytest.raises(InputError, match='RandomFlip'):
        RandomResizedCropWithBox(scale=16)(results)
    results = RandomFlip(prob=0.)({'img': picture(37, 61)})
    assert 'crop_box' in RandomResizedCropWithBox(scale=16)(results)


def test_is_built_from_a_config():
    crop = MMPRETRAIN_TRANSFORMS.build(dict(type='amt_mm.RandomResizedCropWithBox', scale=16))
    assert isinstance(crop, RandomResizedCropWithBox)
    assert isinstance(crop, RandomResizedCrop)


MAP_GRID, CELL = (5, 7), 24  # images of 120 x 168 pixels
PATCH, CROP = 8, (40, 48)  # a crop of 5 x 6 patches


@pytest.fixture
def preprocessor(tmp_path):
    """Maps of 35 samples; sample k attends to cell k only."""
    writer = SaliencyWriter(tmp_path / 'maps', 35, MAP_GRID, 'f')
    writer.write(torch.arange(35), torch.eye(35))
    preprocessor = AMTDataPreprocessor(dict(type='amt_mm.AMTMaskGenerator'))
    preprocessor.store = SaliencyStore(writer.commit())
    return preprocessor


def crop_of_bright_block(cell, flip, seed):
    """Apply the transforms to a black image with one bright block, a cell of the map."""
    row, column = divmod(cell, MAP_GRID[1])
    image = np.zeros((MAP_GRID[0] * CELL, MAP_GRID[1] * CELL, 3), np.uint8)
    image[row * CELL:(row + 1) * CELL, column * CELL:(column + 1) * CELL] = 255
    np.random.seed(seed)
    results = {'img': image, 'sample_idx': cell, 'img_path': f'{cell}.png'}
    for transform in (RandomResizedCropWithBox(scale=CROP, crop_ratio_range=(.2, 1.0)), flip,
                      PackInputsWithBox()):
        results = transform(results)
    return results


@pytest.mark.parametrize('flip', [
    dict(prob=0.), dict(prob=1., direction='horizontal'), dict(prob=1., direction='vertical'),
    dict(prob=1., direction='diagonal'),
    dict(prob=[.25, .25, .25], direction=['horizontal', 'vertical', 'diagonal'])],
    ids=['none', 'horizontal', 'vertical', 'diagonal', 'any'])
def test_the_brightest_patch_has_the_largest_weight(preprocessor, flip):
    # Image and map share one crop, on an image that is not square, and sample k uses row k of the
    # maps.
    flip, clear, draws = RandomFlip(**flip), 0, 0
    rows, columns = CROP[0] // PATCH, CROP[1] // PATCH
    for cell in range(35):
        packed = [crop_of_bright_block(cell, flip, seed) for seed in range(4)]
        weights = preprocessor.look_up_weights([p['data_samples'] for p in packed], (rows, columns))
        for data, row in zip(packed, weights, strict=True):
            light = data['inputs'].float().mean(dim=0)
            light = light.reshape(rows, PATCH, columns, PATCH).mean(dim=(1, 3)).flatten()
            draws += 1
            if light.max() == 0:
                # Outside the crop: at most the slope of the cell reaches into it.
                assert row.max() < .51
                continue
            first, second = light.topk(2).values
            if first > 1.1 * second and first > 100:
                clear += 1
                assert row.argmax() == light.argmax()
            else:
                # Two patches share the block, or only its edge is in the crop.
                assert light[row.argmax()] > .5 * first
            assert torch.corrcoef(torch.stack([light, row]))[0, 1] > .7
    assert draws == 140
    assert clear > 30, 'too few draws that can tell'


def test_weights_require_what_the_transforms_record(preprocessor):
    data = crop_of_bright_block(3, RandomFlip(prob=1.), seed=0)
    del data['data_samples'].crop_box
    with pytest.raises(InputError, match='crop_box'):
        preprocessor.look_up_weights([data['data_samples']], (5, 6))
