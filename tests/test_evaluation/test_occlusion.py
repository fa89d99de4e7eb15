"""Painted patches and shuffled tiles, pixel by pixel."""

import numpy as np
import pytest
import torch

from amt_mm.errors import InputError
from amt_mm.evaluation.occlusion import paint_patches, painted, shuffle_tiles


def test_paint_patches_fills_whole_patches_only():
    images, colour = torch.rand(2, 3, 4, 6), torch.tensor([-1., -2, -3])
    found = paint_patches(images, torch.tensor([[0, 5], [1, 2]]), (2, 2), colour)
    wanted = images.clone()
    for b, (rows, columns) in enumerate([((0, 2), (0, 4)), ((0, 0), (2, 4))]):
        for row, column in zip(rows, columns, strict=True):
            wanted[b, :, row:row + 2, column:column + 2] = colour[:, None, None]
    assert torch.equal(found, wanted)
    none = torch.zeros(2, 0, dtype=torch.int64)
    assert torch.equal(paint_patches(images, none, (2, 2), colour), images)


@pytest.mark.parametrize(('ratio', 'patches', 'count'), [
    (.29, 100, 29), (.3, 10, 3), (.5, 35, 17), (0, 9, 0), (1, 9, 9)])
def test_a_share_is_the_decimal_that_one_writes(ratio, patches, count):
    assert painted(ratio, patches) == count


def test_tiles_are_put_together_in_the_drawn_order():
    images, places = torch.rand(2, 3, 6, 9), torch.tensor([4, 11])
    found = shuffle_tiles(images, 3, 7, places)
    for image, changed, place in zip(images, found, places.tolist(), strict=True):
        order = np.random.default_rng([7, place]).permutation(9)
        for target, source in enumerate(order):
            tile = changed[:, target // 3 * 2:][:, :2, target % 3 * 3:][:, :, :3]
            assert torch.equal(tile, image[:, source // 3 * 2:][:, :2, source % 3 * 3:][:, :, :3])
    assert not torch.equal(found, images)
    assert torch.equal(shuffle_tiles(images, 1, 7, places), images)


def test_images_that_do_not_divide_are_refused():
    with pytest.raises(InputError, match='5x6 pixels are not a multiple of the patch size 2x2'):
        paint_patches(torch.rand(1, 3, 5, 6), torch.zeros(1, 1, dtype=torch.int64), (2, 2),
                      torch.zeros(3))
    with pytest.raises(InputError, match='6x9 pixels do not divide into 2x2 tiles: .*test_cfg.gr'):
        shuffle_tiles(torch.rand(1, 3, 6, 9), 2, 0, torch.zeros(1, dtype=torch.int64))
