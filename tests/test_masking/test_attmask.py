"""AttMask's orders against a sort in Python, and the law of what Hint shows."""

import math

import pytest
import torch

from amt_mm.errors import InputError
from amt_mm.masking import AttMaskGenerator, RandomMaskGenerator, rank_attmask, rank_by_score


def by_hand(scores):
    return [sorted(range(len(row)), key=lambda j: -row[j]) for row in scores.tolist()]


@pytest.mark.parametrize('shape', [(1, 35), (4, 7)])
def test_high_and_low_are_a_sort(shape):
    scores = torch.rand(shape)
    assert rank_attmask(scores, 'high').tolist() == by_hand(scores)
    assert rank_attmask(scores, 'low').tolist() == [row[::-1] for row in by_hand(scores)]
    assert rank_by_score(scores).tolist() == by_hand(scores)


def test_scores_that_cannot_guide_give_chance():
    scores = torch.rand(600, 5)
    scores[:300] = .2
    scores[300:, 3] = math.nan
    first = rank_by_score(scores)[:, 0].bincount(minlength=5)
    assert (first - 120).abs().max() < 4.5 * math.sqrt(600 * .2 * .8)


def test_hint_shows_some_of_the_very_top_and_keeps_the_rest_in_order():
    scores, pool, shown = torch.rand(4000, 12), 5, 2
    order = rank_attmask(scores, 'hint', pool, shown)
    assert (order.sort(dim=1).values == torch.arange(12)).all()
    times = torch.zeros(12)
    for row, wanted in zip(order.tolist(), by_hand(scores), strict=True):
        last = row[-shown:]
        assert set(last) <= set(wanted[:pool])
        assert row[:-shown] == [token for token in wanted if token not in last]
        for token in last:
            times[wanted.index(token)] += 1
    assert (times[:pool] / 4000 - shown / pool).abs().max() < .04


def test_hint_that_shows_nothing_is_high():
    scores = torch.rand(3, 9)
    assert torch.equal(rank_attmask(scores, 'hint', 0, 0), rank_attmask(scores, 'high'))


@pytest.mark.parametrize('variant', ['high', 'hint', 'low'])
@pytest.mark.parametrize(('grid', 'host'), [
    ((5, 7), dict()), ((14, 14), dict(throw_ratio=.2)), ((6, 10), dict(unit=2, rounding='ceil'))])
def test_as_a_generator_for_mae_it_masks_the_top_by_saliency(variant, grid, host):
    weights = torch.rand(3, grid[0] * grid[1])
    generator = AttMaskGenerator(variant, mask_ratio=.5, **host)
    plan = generator(3, grid, weights)
    plan.check()
    wanted = RandomMaskGenerator(.5, **host)(3, grid)
    assert plan.masked.shape == wanted.masked.shape and plan.thrown.shape == wanted.thrown.shape
    if variant == 'hint' or host.get('unit'):
        return
    for row, ids in zip(by_hand(weights), plan.masked.tolist(), strict=True):
        row = row[::-1] if variant == 'low' else row
        assert ids == row[:len(ids)]


def test_without_saliency_it_masks_at_random():
    plan = AttMaskGenerator('high', mask_ratio=.5)(2, (5, 7))
    assert plan.masked.shape == (2, 26)


@pytest.mark.parametrize('wrong', [dict(variant='top'), dict(variant='hint', show=.8),
                                   dict(show=-.1), dict(mask_ratio=1.0)])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(InputError):
        AttMaskGenerator(**wrong)
