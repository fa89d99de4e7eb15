"""Low-attended masking against the enumerated distribution of visible and thrown tokens."""

from itertools import permutations

import pytest
import torch
from partitions import assert_partition
from scipy import stats

from amt_mm.masking import AMTMaskGenerator, LowAttendedMaskGenerator


def law(weights):
    """Exact P(visible token, thrown token) with one of each, by enumeration."""
    found = {}
    for order in permutations(range(len(weights))):
        left, probability = sum(weights), 1.0
        for token in order:
            probability *= weights[token] / left
            left -= weights[token]
        found[order[:2]] = found.get(order[:2], 0) + probability
    return found


@pytest.mark.parametrize('unit', [1, 2])
def test_visible_tokens_are_drawn_by_weight_then_thrown_ones(unit):
    weights, draws = (1, 2, 3, 6), 20_000
    grid = (unit, 4 * unit)
    tokens = torch.tensor(weights, dtype=torch.float32).repeat_interleave(unit).repeat(unit)
    generator = LowAttendedMaskGenerator(.5, .25, unit=unit)
    plan = generator(draws, grid, tokens.expand(draws, -1), torch.device('cpu'),
                     torch.Generator().manual_seed(0))
    assert_partition(plan)
    assert plan.masked.shape[1] == 2 * unit**2
    visible, thrown = (ids[:, 0] % grid[1] // unit for ids in (plan.visible, plan.thrown))
    wanted = law(weights)
    found = [int(((visible == i) & (thrown == j)).sum()) for i, j in wanted]
    assert sum(found) == draws
    assert stats.chisquare(found, [draws * p for p in wanted.values()]).pvalue > 1e-3


def test_attended_tokens_are_masked_least_often():
    weights = torch.linspace(.01, 1, 35).expand(3000, -1)
    shares = [(make(.75, 0)(3000, (5, 7), weights, generator=torch.Generator().manual_seed(1))
               .states() == 1).float().mean(dim=0)
              for make in (LowAttendedMaskGenerator, AMTMaskGenerator)]
    assert shares[0][0] > .95 > .65 > shares[0][-1]
    assert shares[1][0] < .1 < .85 < shares[1][-1]


def test_warm_up_and_unusable_rows_are_random():
    generator = LowAttendedMaskGenerator(.45, .40)
    warm = generator(1, (5, 7))
    assert (warm.masked.shape[1], warm.thrown.shape[1]) == (26, 0)
    weights = torch.linspace(.01, 1, 35).repeat(4000, 1)
    weights[::2, 3] = float('nan')
    plan = generator(4000, (5, 7), weights, generator=torch.Generator().manual_seed(2))
    masked = (plan.states() == 1)[::2].float().mean(dim=0)
    assert (masked - 15 / 35).abs().max() < 5 * (.25 / 2000)**.5
