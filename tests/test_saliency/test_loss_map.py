"""LossMap against a moving average computed by hand and against a slow rasterisation."""

import numpy as np
import pytest
import torch

from amt_mm.errors import InputError
from amt_mm.saliency import LossMap, SaliencyStore

WHOLE = (0., 0., 1., 1.)
HALF = 2**-11  # resolution of half precision below 1


def update(maps, sample_idx, boxes, grid, ids, losses):
    maps.update(torch.tensor(sample_idx), torch.tensor(boxes), grid, torch.tensor(ids),
                torch.tensor(losses))


def read(maps, *samples):
    return maps.lookup(torch.tensor(samples))


def test_two_updates_by_hand():
    maps = LossMap(3, (1, 4), momentum=.9)
    assert torch.equal(read(maps, 0, 1, 2), torch.full((3, 1, 4), .5))
    # Mean loss 2: hardness 1 / (1 + 2) and 3 / (3 + 2).
    update(maps, [1], [WHOLE], (1, 4), [[0, 2]], [[1., 3.]])
    first = [.9 * .5 + .1 / 3, .5, .9 * .5 + .1 * .6, .5]
    torch.testing.assert_close(read(maps, 1)[0, 0], torch.tensor(first), rtol=0, atol=HALF)
    # Mean loss 5: 4 / 9 and 6 / 11, on cells 2 and 3.
    update(maps, [1], [WHOLE], (1, 4), [[3, 2]], [[6., 4.]])
    second = [first[0], .5, .9 * first[2] + .1 * 4 / 9, .9 * .5 + .1 * 6 / 11]
    torch.testing.assert_close(read(maps, 1)[0, 0], torch.tensor(second), rtol=0, atol=2 * HALF)
    assert torch.equal(read(maps, 0, 2), torch.full((2, 1, 4), .5))
    assert maps.step == 2


def test_cells_move_by_the_share_that_masked_patches_cover():
    """The right half of a 2x4 map as 2x2 patches; then a crop that covers half cells."""
    maps = LossMap(1, (2, 4), momentum=.5)
    update(maps, [0], [(.5, 0., 1., 1.)], (2, 2), [[0, 3]], [[1., 3.]])
    wanted = torch.full((2, 4), .5)
    wanted[0, 2] += .5 * (1 / 3 - .5)
    wanted[1, 3] += .5 * (3 / 5 - .5)
    torch.testing.assert_close(read(maps, 0)[0], wanted, rtol=0, atol=HALF)
    maps = LossMap(1, (1, 2), momentum=.5)
    update(maps, [0], [(.25, 0., .75, 1.)], (1, 1), [[0]], [[7.]])  # hardness .5: no change
    assert torch.equal(read(maps, 0)[0, 0], torch.tensor([.5, .5]))
    update(maps, [0, 0], [(.25, 0., .75, 1.), (0., 0., .5, 1.)], (1, 1), [[0], [0]], [[1.], [3.]])
    # .6 on all of cell 0; 1 / 3 on half of either cell. Updates of one sample are added.
    low, high = .5 * .5 * (1 / 3 - .5), .5 * (.6 - .5)
    torch.testing.assert_close(read(maps, 0)[0, 0], torch.tensor([.5 + low + high, .5 + low]),
                               rtol=0, atol=HALF)


def test_several_crops_of_an_image_do_not_overshoot_their_mean():
    maps = LossMap(2, (1, 1), momentum=.5)
    # Mean loss 2: hardness 1 / (1 + 2).
    update(maps, [0] * 5 + [1], [WHOLE] * 6, (1, 1), [[0]] * 6, [[1.]] * 5 + [[7.]])
    assert float(read(maps, 0)) == pytest.approx(1 / 3, abs=HALF)


def slow_update(old, box, crop_grid, hardness, keep, fine=20):
    """Sample a raster of points and look up the patch of each."""
    height, width = old.shape
    new = old.copy()
    for i in range(height):
        for j in range(width):
            share = total = 0.0
            for y in (np.arange(fine) + .5) / fine:
                for x in (np.arange(fine) + .5) / fine:
                    u = ((j + x) / width - box[0]) / (box[2] - box[0])
                    v = ((i + y) / height - box[1]) / (box[3] - box[1])
                    if 0 <= u < 1 and 0 <= v < 1:
                        value = hardness[int(v * crop_grid[0]), int(u * crop_grid[1])]
                        if not np.isnan(value):
                            share += 1 / fine**2
                            total += value / fine**2
            new[i, j] += (1 - keep) * (total - share * old[i, j])
    return new


@pytest.mark.parametrize('box', [(.13, .2, .71, .9), (.71, .2, .13, .9), (.13, .9, .71, .2),
                                 (.9, .7, .3, .1)])
def test_any_crop_and_flip_against_a_raster(box):
    maps = LossMap(2, (5, 7), momentum=.2)
    chance = np.random.RandomState(0)
    ids = chance.permutation(12)[:8][None]
    losses = chance.rand(1, 8).astype(np.float32) * 4
    update(maps, [1], [box], (3, 4), ids.tolist(), losses.tolist())
    hardness = np.full(12, np.nan)
    hardness[ids[0]] = losses[0] / (losses[0] + losses.mean())
    wanted = slow_update(np.full((5, 7), .5), box, (3, 4), hardness.reshape(3, 4), .2)
    np.testing.assert_allclose(read(maps, 1)[0].numpy(), wanted, atol=.02)


def test_hardness_depends_on_relative_losses_and_lies_between_0_and_1():
    found = []
    for scale in (1, 1000):
        maps = LossMap(1, (5, 7))
        losses = torch.rand(1, 15, generator=torch.Generator().manual_seed(1)) * scale
        for _ in range(60):
            maps.update(torch.tensor([0]), torch.tensor([WHOLE]), (5, 7), torch.arange(15)[None],
                        losses)
        found.append(read(maps, 0))
    torch.testing.assert_close(*found, rtol=0, atol=2 * HALF)
    assert found[0].min() > 0 and found[0].max() < 1
    # The map is ordered as the losses.
    assert torch.equal(found[0].flatten()[:15].argsort(), losses[0].argsort())
    update(maps, [0] * 40, [WHOLE] * 40, (1, 1), [[0]] * 40, [[9.]] + [[0.]] * 39)
    assert read(maps, 0).min() >= 0 and read(maps, 0).max() <= 1


def test_losses_that_are_not_finite_are_ignored_and_zeros_are_valid():
    maps = LossMap(1, (1, 3), momentum=.5)
    update(maps, [0], [WHOLE], (1, 3), [[0, 1, 2]], [[float('nan'), 1., float('inf')]])
    assert torch.equal(read(maps, 0)[0, 0], torch.tensor([.5, .5, .5]))
    update(maps, [0], [WHOLE], (1, 3), [[0, 1, 2]], [[float('nan'), 1., 3.]])
    torch.testing.assert_close(read(maps, 0)[0, 0], torch.tensor([.5, .25 + 1 / 6, .25 + .3]),
                               rtol=0, atol=HALF)
    update(maps, [0], [WHOLE], (1, 3), [[0, 1, 2]], [[0., 0., 0.]])
    assert read(maps, 0).isfinite().all()


def test_saved_maps_are_identical(tmp_path):
    maps = LossMap(4, (5, 7))
    for seed in range(3):
        chance = torch.Generator().manual_seed(seed)
        maps.update(torch.tensor([seed, 3]), torch.rand(2, 4, generator=chance), (5, 7),
                    torch.rand(2, 35, generator=chance).argsort(dim=1)[:, :15],
                    torch.rand(2, 15, generator=chance))
    store = maps.save(tmp_path / 'maps', 'x')
    assert isinstance(store, SaliencyStore) and (store.step, store.fingerprint) == (3, 'x')
    again = LossMap(4, (5, 7))
    again.load(SaliencyStore(tmp_path / 'maps', 'x'))
    assert torch.equal(read(again, 0, 1, 2, 3), read(maps, 0, 1, 2, 3)) and again.step == 3
    with pytest.raises(InputError, match='4 maps of 5x7 cells, this run has 4 of 7x5'):
        LossMap(4, (7, 5)).load(store)


def test_invalid_input_is_named():
    maps = LossMap(2, (1, 2))
    with pytest.raises(InputError, match='momentum=1'):
        LossMap(2, (1, 2), momentum=1)
    with pytest.raises(InputError, match='2..2 lies outside the 2 maps'):
        read(maps, 2)
    with pytest.raises(InputError, match='-1..-1 lies outside'):
        update(maps, [-1], [WHOLE], (1, 2), [[0]], [[1.]])
    with pytest.raises(InputError, match='at least 0'):
        update(maps, [0], [WHOLE], (1, 2), [[0]], [[-1.]])
