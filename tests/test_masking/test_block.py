"""Block-wise masking against a slow loop that adds one rectangle after another."""

import math
import random

import numpy as np
import pytest
import torch
from partitions import assert_partition
from scipy.ndimage import label

from amt_mm.errors import InputError
from amt_mm.masking import BlockMaskGenerator, RandomMaskGenerator

HOSTS = [((14, 14), dict()), ((5, 7), dict()), ((14, 14), dict(unit=2, rounding='ceil')),
         ((6, 10), dict(unit=2, rounding='ceil'))]


def slow_mask(rows, columns, number, smallest, chance):
    """Add blocks until enough tokens are masked; the last one is cut from either end."""
    mask = np.zeros((rows, columns), dtype=bool)
    upwards = chance.random() < .5
    while mask.sum() < number:
        area = chance.uniform(smallest, number)
        aspect = math.exp(chance.uniform(math.log(.3), math.log(1 / .3)))
        height = min(max(round(math.sqrt(area * aspect)), 1), rows)
        width = min(max(round(math.sqrt(area / aspect)), 1), columns)
        top, left = chance.randint(0, rows - height), chance.randint(0, columns - width)
        cells = [(top + i, left + j) for i in range(height) for j in range(width)]
        for cell in reversed(cells) if upwards else cells:
            if mask.sum() < number:
                mask[cell] = True
    return mask


def components(mask):
    return label(mask)[1]


@pytest.mark.parametrize(('grid', 'host'), HOSTS)
@pytest.mark.parametrize('ratios', [(.75, 0), (.45, .40), (.9, 0)])
def test_counts_are_those_of_random_masking(grid, host, ratios):
    for batch_size in (1, 3):
        plan = BlockMaskGenerator(*ratios, **host)(batch_size, grid)
        wanted = RandomMaskGenerator(*ratios, **host)(batch_size, grid)
        assert_partition(plan)
        for kind in ('masked', 'thrown', 'visible'):
            assert getattr(plan, kind).shape == getattr(wanted, kind).shape
        assert plan.grid == grid


@pytest.mark.parametrize(('rows', 'columns', 'ratio', 'min_block'), [
    (5, 7, .45, 4), (14, 14, .40, 16), (9, 4, .75, 1)])
def test_distribution_equals_that_of_the_slow_loop(rows, columns, ratio, min_block):
    draws, slow_draws = 2500, 1000
    number = math.floor(rows * columns * ratio)
    plan = BlockMaskGenerator(ratio, min_block=min_block)(
        draws, (rows, columns), generator=torch.Generator().manual_seed(0))
    found = (plan.states() == 1).reshape(draws, rows, columns).numpy()
    chance = random.Random(1)
    wanted = np.stack([slow_mask(rows, columns, number, min_block, chance)
                       for _ in range(slow_draws)])
    error = np.sqrt(.25 / draws + .25 / slow_draws)
    assert np.abs(found.mean(0) - wanted.mean(0)).max() < 5 * error
    # Beyond single tokens: pairs of neighbours and the number of connected components.
    below = [(m[:, 1:] & m[:, :-1]).mean(0) for m in (found, wanted)]
    beside = [(m[:, :, 1:] & m[:, :, :-1]).mean(0) for m in (found, wanted)]
    assert np.abs(below[0] - below[1]).max() < 5 * error
    assert np.abs(beside[0] - beside[1]).max() < 5 * error
    pieces = [np.array([components(m) for m in masks[:1000]]) for masks in (found, wanted)]
    spread = np.sqrt(sum(p.var() / len(p) for p in pieces))
    assert abs(pieces[0].mean() - pieces[1].mean()) < 5 * spread


def test_marginals_are_symmetric_and_higher_in_the_middle():
    draws = 4000
    plan = BlockMaskGenerator(.40)(draws, (6, 8), generator=torch.Generator().manual_seed(2))
    share = (plan.states() == 1).float().mean(0).reshape(6, 8)
    # Rotating by 180 degrees maps cut ends onto each other; 5 standard errors of a difference.
    assert (share - share.flip(0, 1)).abs().max() < 5 * (.5 / draws)**.5
    assert share[2:4, 3:5].min() > share[[0, 0, -1, -1], [0, -1, 0, -1]].max() + .1


def test_mask_has_few_connected_components():
    plan = BlockMaskGenerator(.45)(200, (14, 14), generator=torch.Generator().manual_seed(3))
    chance = RandomMaskGenerator(.45)(200, (14, 14), generator=torch.Generator().manual_seed(3))
    pieces, crumbs = ([components(m) for m in (p.states() == 1).reshape(-1, 14, 14).numpy()]
                      for p in (plan, chance))
    # Each block has at least 16 tokens, and other blocks may cut one in two.
    assert max(pieces) <= 88 // 16 + 1
    assert np.mean(pieces) < 2 and 5 * np.mean(pieces) < np.mean(crumbs)


def test_units_share_a_state_and_min_block_is_counted_in_tokens():
    plan = BlockMaskGenerator(.60, unit=2, rounding='ceil')(
        300, (14, 14), generator=torch.Generator().manual_seed(4))
    states = plan.states().reshape(300, 7, 2, 7, 2)
    assert torch.equal(states, states[:, :, :1, :, :1].expand_as(states))
    found = states[:, :, 0, :, 0] == 1
    chance = random.Random(5)
    wanted = np.stack([slow_mask(7, 7, 30, 4, chance) for _ in range(700)]).mean(0)
    assert np.abs(found.float().mean(0).numpy() - wanted).max() < 5 * (.25 / 300 + .25 / 700)**.5


def test_tokens_that_no_block_covers_are_masked_at_random(monkeypatch):
    monkeypatch.setattr('amt_mm.masking.block._NUM_BLOCKS', 1)
    generator = torch.Generator().manual_seed(6)
    plan = BlockMaskGenerator(.8, min_block=1)(4000, (5, 7), generator=generator)
    assert_partition(plan)
    share = (plan.states() == 1).float().mean(0)
    # Filled up in the order of ids, both ends would differ.
    assert abs(float(share[0] - share[-1])) < 5 * (.5 / 4000)**.5
    assert share.min() > .5


def test_plan_is_reproducible_by_its_seed():
    plans = [BlockMaskGenerator()(3, (5, 7), generator=torch.Generator().manual_seed(s)).states()
             for s in (7, 7, 8)]
    assert torch.equal(plans[0], plans[1]) and not torch.equal(plans[0], plans[2])


def test_invalid_arguments_are_named():
    for wrong in (0, 16.5, None, True):
        with pytest.raises(InputError, match=f'min_block={wrong}'):
            BlockMaskGenerator(min_block=wrong)
    with pytest.raises(InputError, match='sum to 1'):
        BlockMaskGenerator(.6, .4)
