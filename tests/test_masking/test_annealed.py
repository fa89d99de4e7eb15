"""Annealed masking: the exact distribution at the start, middle and end of training."""

from itertools import permutations

import pytest
import torch
from partitions import assert_partition
from scipy import stats

from amt_mm.errors import InputError
from amt_mm.masking import AMTMaskGenerator, AnnealedMaskGenerator
from amt_mm.names import THROWS

WEIGHTS = (0.5, 2, 3, 7)


def distribution(progress):
    """P(masked, thrown): draws by (1 - progress) / N + progress * share of the weight."""
    shares = [(1 - progress) / 4 + progress * w / sum(WEIGHTS) for w in WEIGHTS]
    found = {}
    for order in permutations(range(4)):
        left, probability = 1.0, 1.0
        for token in order[:-1]:
            probability *= shares[token] / left
            left -= shares[token]
        found[order[:2]] = found.get(order[:2], 0) + probability
    return found


def draw(progress, draws=20_000, seed=0, unit=1):
    generator = AnnealedMaskGenerator(mask_ratio=.25, throw_ratio=.25, unit=unit)
    generator.progress = progress
    tokens = torch.tensor(WEIGHTS).repeat_interleave(unit).repeat(unit)
    plan = generator(draws, (unit, 4 * unit), tokens.expand(draws, -1),
                     generator=torch.Generator().manual_seed(seed))
    assert_partition(plan)
    return [ids[:, 0] % (4 * unit) // unit for ids in (plan.masked, plan.thrown)]


@pytest.mark.parametrize('unit', [1, 2])
@pytest.mark.parametrize('progress', [0, .5, 1])
def test_distribution_at_each_progress(progress, unit):
    masked, thrown = draw(progress, unit=unit)
    wanted = distribution(progress)
    found = [int(((masked == i) & (thrown == j)).sum()) for i, j in wanted]
    assert stats.chisquare(found, [20_000 * p for p in wanted.values()]).pvalue > 1e-3
    for other in {0, .5, 1} - {progress}:
        wrong = distribution(other)
        assert stats.chisquare(found, [20_000 * wrong[pair] for pair in wanted]).pvalue < 1e-6


def test_first_token_is_drawn_by_weight_with_probability_progress():
    masked, _ = draw(.3, draws=40_000, seed=1)
    share = float((masked == 3).float().mean())
    assert share == pytest.approx(.7 / 4 + .3 * 7 / 12.5, abs=5 * (.25 / 40_000)**.5)


@pytest.mark.parametrize('throw', THROWS)
def test_plan_equals_amt_at_the_end_of_training(throw):
    weights = torch.rand(4, 35, generator=torch.Generator().manual_seed(2))
    weights[0, :30], weights[1] = 0, 0
    weights[2, 4] = float('nan')
    annealed = AnnealedMaskGenerator(throw=throw)
    annealed.progress = 1.0
    plans = [generator(4, (5, 7), weights, generator=torch.Generator().manual_seed(3))
             for generator in (annealed, AMTMaskGenerator(throw=throw))]
    for kind in ('masked', 'thrown', 'visible'):
        assert torch.equal(getattr(plans[0], kind), getattr(plans[1], kind))


@pytest.mark.parametrize('progress', [0, .5, 1])
def test_unusable_row_stays_random(progress):
    generator = AnnealedMaskGenerator()
    generator.progress = progress
    weights = torch.linspace(.01, 1, 35).repeat(3000, 1)
    weights[:, 3] = float('inf')
    plan = generator(3000, (5, 7), weights, generator=torch.Generator().manual_seed(4))
    masked = (plan.states() == 1).float().mean(dim=0)
    assert (masked - 15 / 35).abs().max() < 5 * (.25 / 3000)**.5


def test_counts_never_change():
    generator = AnnealedMaskGenerator()
    for progress in (0, .01, .5, 1):
        generator.progress = progress
        plan = generator(1, (5, 7), torch.rand(1, 35))
        assert (plan.masked.shape[1], plan.thrown.shape[1]) == (15, 14)


def test_progress_is_required_only_for_guided_plans():
    generator = AnnealedMaskGenerator()
    assert generator(1, (5, 7)).masked.shape == (1, 26)
    with pytest.raises(InputError, match='MaskProgressHook'):
        generator(1, (5, 7), torch.rand(1, 35))
    for progress in (-.1, 1.1, float('nan')):
        generator.progress = progress
        with pytest.raises(InputError, match='between 0 and 1'):
            generator(1, (5, 7), torch.rand(1, 35))


@pytest.mark.parametrize(('schedule', 'guidance'), [
    ('in', (0, .25, .5, .75, 1)), ('out', (1, .75, .5, .25, 0)), ('in-out', (0, .5, 1, .5, 0))])
def test_schedules_by_the_probability_of_the_heaviest_token(schedule, guidance):
    generator = AnnealedMaskGenerator(schedule=schedule, mask_ratio=.25, throw_ratio=.25)
    for progress, wanted in zip((0, .25, .5, .75, 1), guidance, strict=True):
        generator.progress = progress
        assert generator.guidance == wanted
        plan = generator(20_000, (1, 4), torch.tensor(WEIGHTS).expand(20_000, -1),
                         generator=torch.Generator().manual_seed(5))
        heaviest = (1 - wanted) / 4 + wanted * 7 / 12.5
        assert float((plan.masked == 3).float().mean()) == pytest.approx(
            heaviest, abs=5 * (.25 / 20_000)**.5)


def test_unknown_schedule_is_rejected():
    with pytest.raises(InputError, match="schedule='up'"):
        AnnealedMaskGenerator(schedule='up')
