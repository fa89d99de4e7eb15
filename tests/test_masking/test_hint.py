"""Hints: their number, choice and distribution; everything else is unchanged."""

import pytest
import torch
from partitions import assert_partition

from amt_mm.errors import InputError
from amt_mm.masking import AMTMaskGenerator, reveal_hints
from amt_mm.names import THROWS


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sets(ids):
    return [set(row) for row in ids.tolist()]


@pytest.mark.parametrize(('masked', 'thrown', 'visible', 'ratio', 'shown'), [
    (15, 14, 6, .2, 3), (15, 14, 6, .4, 6), (10, 0, 5, .3, 3), (29, 0, 40, 1 / 3, 9),
    (100, 0, 50, .29, 29), (3, 1, 1, .34, 1)])
def test_masked_and_visible_tokens_are_swapped(masked, thrown, visible, ratio, shown):
    order = torch.stack([torch.randperm(masked + thrown + visible, generator=seeded(row))
                         for row in range(3)])
    mixed = reveal_hints(order, masked, thrown, ratio, seeded())
    for old, new in zip(order.split([masked, thrown, visible], dim=1),
                        mixed.split([masked, thrown, visible], dim=1), strict=True):
        moved = 0 if old.shape[1] == thrown and torch.equal(old, new) else shown
        assert [len(a - b) for a, b in zip(sets(old), sets(new), strict=True)] == [moved] * 3
    assert torch.equal(mixed[:, masked:masked + thrown], order[:, masked:masked + thrown])
    assert torch.equal(mixed.sort(dim=1).values, order.sort(dim=1).values)


def test_both_sides_are_drawn_uniformly_and_independently():
    draws, masked, visible, shown = 20_000, 6, 4, 2
    order = torch.arange(11).expand(draws, -1)
    mixed = reveal_hints(order, masked, 1, .34, seeded(1))
    places = mixed.argsort(dim=1)  # token -> place
    out = (places[:, :masked] >= masked).float()
    back = (places[:, masked + 1:] < masked).float()
    for moved, pool in ((out, masked), (back, visible)):
        assert (moved.sum(dim=1) == shown).all()
        p = shown / pool
        assert (moved.mean(dim=0) - p).abs().max() < 4.5 * (p * (1 - p) / draws)**.5
    joint = float((out[:, 0] * back[:, 0]).mean())
    assert joint == pytest.approx(1 / 3 * 1 / 2, abs=4.5 * (.14 / draws)**.5)


@pytest.mark.parametrize('throw', THROWS)
@pytest.mark.parametrize(('grid', 'host'), [((5, 7), dict()), ((14, 14), dict()),
                                            ((6, 10), dict(unit=2, rounding='ceil'))])
def test_generator_keeps_counts_and_reveals_masked_tokens(throw, grid, host):
    weights = torch.zeros(4, grid[0] * grid[1])
    weights[:, grid[1]:] = torch.rand(weights[:, grid[1]:].shape, generator=seeded(2))
    ratios = dict(mask_ratio=.4, throw_ratio=.2, throw=throw, **host)
    plain = AMTMaskGenerator(**ratios)(4, grid, weights, generator=seeded(3))
    hint = AMTMaskGenerator(hint_ratio=.5, **ratios)(4, grid, weights, generator=seeded(3))
    assert_partition(hint)
    assert hint.masked.shape == plain.masked.shape and hint.visible.shape == plain.visible.shape
    assert sets(hint.thrown) == sets(plain.thrown)
    unit = host.get('unit', 1)
    wanted = plain.masked.shape[1] // unit**2 // 2 * unit**2
    for before, after in zip(sets(plain.masked), sets(hint.visible), strict=True):
        assert len(before & after) == wanted


def test_more_hints_than_visible_tokens_are_rejected():
    for ratio in (1, -.1, 1.5, '.1', True):
        with pytest.raises(InputError, match='hint_ratio='):
            AMTMaskGenerator(hint_ratio=ratio)
    with pytest.raises(InputError, match='hint_ratio=0.4 of mask_ratio=0.45'):
        AMTMaskGenerator(hint_ratio=.4)  # .18 of the tokens, .15 are visible
    AMTMaskGenerator(hint_ratio=1 / 3)
    # Rounding up leaves fewer visible than the ratios say: 3 masked, 1 thrown, 1 visible.
    generator = AMTMaskGenerator(.5, .2, hint_ratio=.6, rounding='ceil')
    with pytest.raises(InputError, match='swaps 3 of 5'):
        generator(1, (1, 9), torch.rand(1, 9))


def test_warm_up_has_no_hints():
    plans = [AMTMaskGenerator(hint_ratio=ratio)(2, (5, 7), generator=seeded(4)).states()
             for ratio in (0, .3)]
    assert torch.equal(*plans)
