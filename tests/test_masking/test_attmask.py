"""AttMask's rankings against a sort in Python, and the distribution of its hints."""

import math

import pytest
import torch
from partitions import assert_partition
from scipy import stats

from amt_mm.errors import InputError
from amt_mm.masking import AttMaskGenerator, RandomMaskGenerator, rank_attmask, rank_by_weight


def by_hand(weights):
    return [sorted(range(len(row)), key=lambda j: -row[j]) for row in weights.tolist()]


@pytest.mark.parametrize('shape', [(1, 35), (4, 7)])
def test_high_and_low_sort_by_weight(shape):
    weights = torch.rand(shape)
    assert rank_attmask(weights, 'high').tolist() == by_hand(weights)
    assert rank_attmask(weights, 'low').tolist() == [row[::-1] for row in by_hand(weights)]
    assert rank_by_weight(weights).tolist() == by_hand(weights)


def test_unusable_weights_are_ranked_at_random():
    weights = torch.rand(600, 5)
    weights[:300] = .2
    weights[300:, 3] = math.nan
    first = rank_by_weight(weights)[:, 0].bincount(minlength=5)
    assert (first - 120).abs().max() < 4.5 * math.sqrt(600 * .2 * .8)


@pytest.mark.parametrize('strategy', ['high', 'low'])
def test_ties_are_cut_at_random(strategy):
    """Among tokens of an object mask, every one is as likely among those that are masked."""
    objects = torch.tensor([0., 1, 1, 0, 0, 1, 1, 1, 0, 0, 1, 0]).expand(3000, -1)
    order = rank_attmask(objects, strategy, generator=torch.Generator().manual_seed(0))
    tied = objects[0] == (strategy == 'high')
    assert tied[order[:, :6]].all()
    masked = torch.zeros(order.shape).scatter_(1, order[:, :2], 1).sum(dim=0)[tied]
    # 2 of 6 tokens: their counts sum to a constant, hence the factor 5 / 6.
    statistic = ((masked - 1000)**2).sum() / (1000 * 2 / 3) * 5 / 6
    assert stats.chi2.sf(float(statistic), 5) > 1e-3


def test_hints_come_from_the_top_of_the_ranking_and_the_rest_keeps_its_order():
    weights, pool, shown = torch.rand(4000, 12), 5, 2
    order = rank_attmask(weights, 'hint', pool, shown)
    assert (order.sort(dim=1).values == torch.arange(12)).all()
    times = torch.zeros(12)
    for row, wanted in zip(order.tolist(), by_hand(weights), strict=True):
        last = row[-shown:]
        assert set(last) <= set(wanted[:pool])
        assert row[:-shown] == [token for token in wanted if token not in last]
        for token in last:
            times[wanted.index(token)] += 1
    assert (times[:pool] / 4000 - shown / pool).abs().max() < .04


def test_hint_without_hints_equals_high():
    weights = torch.rand(3, 9)
    assert torch.equal(rank_attmask(weights, 'hint', 0, 0), rank_attmask(weights, 'high'))


@pytest.mark.parametrize('strategy', ['high', 'hint', 'low'])
@pytest.mark.parametrize(('grid', 'host'), [
    ((5, 7), dict()), ((14, 14), dict(throw_ratio=.2)), ((6, 10), dict(unit=2, rounding='ceil'))])
def test_generator_masks_the_top_or_bottom_by_saliency(strategy, grid, host):
    weights = torch.rand(3, grid[0] * grid[1])
    generator = AttMaskGenerator(strategy, mask_ratio=.5, **host)
    plan = generator(3, grid, weights)
    assert_partition(plan)
    wanted = RandomMaskGenerator(.5, **host)(3, grid)
    assert plan.masked.shape == wanted.masked.shape and plan.thrown.shape == wanted.thrown.shape
    if strategy == 'hint' or host.get('unit'):
        return
    for row, ids in zip(by_hand(weights), plan.masked.tolist(), strict=True):
        row = row[::-1] if strategy == 'low' else row
        assert ids == row[:len(ids)]


def test_every_hint_is_visible():
    """Where fewer tokens stay visible, some hints would be thrown."""
    weights = torch.rand(50, 64)
    top = weights.argsort(dim=1, descending=True)[:, :6]

    def shown(throw_ratio):
        plan = AttMaskGenerator('hint', .75, throw_ratio)(50, (8, 8), weights)
        return (plan.visible[:, :, None] == top[:, None]).sum(dim=(1, 2))

    assert (shown(.2) == 4).all()
    with pytest.raises(InputError, match='reveals 4 tokens, but only 2 of 64'):
        shown(.22)
    AttMaskGenerator('high', .75, .22)(50, (8, 8), weights)


def test_the_shares_of_hints_are_exact_decimals():
    # .29 of 100 in floating point: 28.999...
    weights = torch.arange(100.).expand(400, -1)
    plan = AttMaskGenerator('hint', .5, show=.29)(400, (10, 10), weights)
    assert ((plan.visible >= 71).sum(dim=1) == 14).all()
    assert (plan.visible == 71).any()  # the last of the pool


def test_masks_at_random_without_saliency():
    plan = AttMaskGenerator('high', mask_ratio=.5)(2, (5, 7))
    assert plan.masked.shape == (2, 26)


@pytest.mark.parametrize('wrong', [dict(strategy='top'), dict(strategy='hint', show=.8),
                                   dict(show=-.1), dict(mask_ratio=1.0)])
def test_invalid_settings_are_rejected(wrong):
    with pytest.raises(InputError):
        AttMaskGenerator(**wrong)
