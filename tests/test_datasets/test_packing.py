import amt_mm.registry  # noqa: F401  isort: skip  before mmpretrain

import mmcv
import numpy as np
import pytest
import torch
from mmcv.transforms import RandomFlip
from mmengine.dataset import default_collate, pseudo_collate
from mmpretrain.datasets import PackInputs

from amt_mm.datasets import PackInputsWithBox
from amt_mm.errors import InputError

BOX = (.25, .1, .75, 1.0)


def results(**kwargs):
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    return {'img': image, 'img_path': 'a/b.jpg', 'sample_idx': 7, 'crop_box': BOX, **kwargs}


@pytest.mark.parametrize('direction', ['horizontal', 'vertical', 'diagonal'])
def test_packs_image_index_box_and_flip(direction):
    flipped = RandomFlip(prob=1., direction=direction)(results())
    data = PackInputsWithBox()(flipped)
    sample = data['data_samples']
    assert (sample.sample_idx, sample.crop_box, sample.img_path) == (7, BOX, 'a/b.jpg')
    assert (sample.flip, sample.flip_direction) == (True, direction)
    assert data['inputs'].dtype == torch.uint8
    np.testing.assert_array_equal(data['inputs'].permute(1, 2, 0).numpy(), flipped['img'])


def test_no_flip_is_packed_as_none():
    sample = PackInputsWithBox()(RandomFlip(prob=0.)(results()))['data_samples']
    assert sample.flip is False
    assert sample.flip_direction is None
    assert 'flip' not in PackInputsWithBox()(results())['data_samples']


@pytest.mark.parametrize('collate', [default_collate, pseudo_collate])
def test_metadata_survive_collation(collate):
    pack = PackInputsWithBox()
    batch = collate([pack(results(sample_idx=i, crop_box=(0, 0, 1 / (i + 1), 1)))
                     for i in (4, 0, 2)])
    assert [sample.sample_idx for sample in batch['data_samples']] == [4, 0, 2]
    assert [sample.crop_box[2] for sample in batch['data_samples']] == [1 / 5, 1, 1 / 3]


@pytest.mark.parametrize('key', ['crop_box', 'sample_idx'])
def test_a_missing_key_is_one_line(key):
    incomplete = results()
    del incomplete[key]
    with pytest.raises(InputError, match=f'`{key}`.*a/b.jpg') as caught:
        PackInputsWithBox()(incomplete)
    assert '\n' not in str(caught.value)
    del incomplete['img_path']
    with pytest.raises(InputError, match=f'`{key}`'):
        PackInputsWithBox()(incomplete)


def test_the_first_sample_and_the_whole_image_are_valid():
    sample = PackInputsWithBox()(results(sample_idx=0, crop_box=(0, 0, 1, 1)))['data_samples']
    assert (sample.sample_idx, sample.crop_box) == (0, (0, 0, 1, 1))


def test_labels_pass_as_in_the_parent():
    data = PackInputsWithBox()(results(gt_label=3))
    assert data['data_samples'].gt_label.tolist() == [3]


def test_custom_meta_keys_are_added_to_the_required_ones():
    sample = PackInputsWithBox(meta_keys=['ori_shape']).transform(dict(
        img=np.zeros((4, 6, 3), np.uint8), sample_idx=3, crop_box=(0, 0, 1, 1), flip=True,
        flip_direction='horizontal', ori_shape=(4, 6), img_path='x'))['data_samples']
    assert set(sample.metainfo_keys()) == {
        'ori_shape', 'sample_idx', 'crop_box', 'flip', 'flip_direction'}


@pytest.mark.parametrize('direction', [None, 'horizontal', 'vertical', 'diagonal'])
@pytest.mark.parametrize('shape', [(5, 7, 3), (2, 3, 3), (5, 7), (5, 7, 1)])
def test_pixels_equal_those_of_the_parent(direction, shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    if direction:
        image = mmcv.imflip(image, direction)
    found = PackInputsWithBox.format_input(image)
    assert found.is_contiguous()
    np.testing.assert_array_equal(found.numpy(), PackInputs.format_input(image).numpy())
    part = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)[2:6, 1:8]
    np.testing.assert_array_equal(PackInputsWithBox.format_input(part).numpy(),
                                  part.transpose(2, 0, 1))
