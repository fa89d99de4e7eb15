import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest
import torch
from partitions import assert_partition
from scipy import stats

import amt_mm
from amt_mm.errors import InputError
from amt_mm.masking import AMTMaskGenerator, RandomMaskGenerator

SMALL = 1e-3
THROWS = ('middle', 'low', 'random')


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def sets(ids):
    return [set(row) for row in ids.tolist()]


def counts(plan):
    return tuple(ids.shape[1] for ids in (plan.masked, plan.thrown, plan.visible))


GENERATORS = {
    'random': lambda **kw: RandomMaskGenerator(.75, **kw),
    'random throw': lambda **kw: RandomMaskGenerator(.45, .40, **kw),
    'am': lambda **kw: AMTMaskGenerator(.75, 0, **kw),
    **{f'amt {throw}': lambda throw=throw, **kw: AMTMaskGenerator(throw=throw, **kw)
       for throw in THROWS}}


@pytest.mark.parametrize('rounding', ['floor', 'ceil'])
@pytest.mark.parametrize(('grid', 'unit'), [((5, 7), 1), ((14, 14), 1), ((14, 14), 2),
                                            ((9, 12), 3)])
@pytest.mark.parametrize('name', GENERATORS)
def test_every_plan_is_a_partition(name, grid, unit, rounding):
    # With and without weights, also for a batch of one.
    generator = GENERATORS[name](unit=unit, rounding=rounding)
    for batch_size in (1, 3):
        weights = torch.rand(batch_size, grid[0] * grid[1], generator=seeded(1))
        weights[0, ::2] = 0
        for given in (None, weights):
            plan = generator(batch_size, grid, given, generator=seeded())
            assert (plan.batch_size, plan.grid) == (batch_size, grid)
            assert_partition(plan)
            # The tokens of a unit share a state.
            blocks = plan.states().reshape(batch_size, grid[0] // unit, unit, grid[1] // unit, unit)
            assert torch.equal(blocks, blocks[:, :, :1, :, :1].expand_as(blocks))


# Masked, thrown and visible units of the published tables.
TABLE = [
    (RandomMaskGenerator(), 1, (147, 0, 49)),
    (AMTMaskGenerator(.75, 0), 1, (147, 0, 49)),
    (AMTMaskGenerator(), 1, (88, 78, 30)),
    (RandomMaskGenerator(.60, unit=2, rounding='ceil'), 4, (30, 0, 19)),
    (AMTMaskGenerator(.60, 0, unit=2, rounding='ceil'), 4, (30, 0, 19)),
    (AMTMaskGenerator(.44, .26, unit=2, rounding='ceil'), 4, (22, 13, 14)),
    (AMTMaskGenerator(.33, .50, unit=2, rounding='ceil'), 4, (17, 25, 7))]


@pytest.mark.parametrize(('generator', 'tokens_per_unit', 'wanted'), TABLE)
def test_counts_of_the_paper(generator, tokens_per_unit, wanted):
    plan = generator(2, (14, 14), torch.rand(2, 196, generator=seeded()))
    assert counts(plan) == tuple(n * tokens_per_unit for n in wanted)


@pytest.mark.parametrize(('generator', 'wanted'), [
    (AMTMaskGenerator(), (147, 0, 49)),
    (AMTMaskGenerator(.44, .26, warmup_mask_ratio=.60, unit=2, rounding='ceil'), (120, 0, 76)),
    (AMTMaskGenerator(.35, .40, warmup_mask_ratio=.45, warmup_throw_ratio=.40), (88, 78, 30)),
    (AMTMaskGenerator(.44, .26, warmup_mask_ratio=.44, warmup_throw_ratio=.26, unit=2,
                      rounding='ceil'), (88, 52, 56)),
    (RandomMaskGenerator(.45, .40), (88, 78, 30))])
def test_warm_up_masks_by_its_own_ratios(generator, wanted):
    plan = generator(2, (14, 14))
    assert counts(plan) == wanted
    assert_partition(plan)


def throwing_law(weights, throw):
    """Exact P(masked token, thrown token) with one of each, by enumeration."""
    law = {}
    tokens = range(len(weights))
    for order in permutations(tokens):
        left, probability = sum(weights), 1.0
        for token in order:
            probability *= weights[token] / left
            left -= weights[token]
        rest = order[1:]
        thrown = {'middle': rest[:1], 'low': rest[-1:], 'random': rest}[throw]
        for token in thrown:
            pair = order[0], token
            law[pair] = law.get(pair, 0) + probability / len(thrown)
    return law


@pytest.mark.parametrize('unit', [1, 2])
@pytest.mark.parametrize('throw', THROWS)
def test_masked_and_thrown_tokens_follow_the_exact_distribution(throw, unit):
    # Also with units, whose weights are sums over their tokens.
    unit_weights, draws = (1, 2, 3, 6), 20_000
    if unit == 1:
        grid, weights = (2, 2), torch.tensor(unit_weights, dtype=torch.float32)
    else:
        grid, weights = (2, 8), torch.zeros(2, 8)
        for index, weight in enumerate(unit_weights):  # from all on one token to half and half
            weights[0, 2 * index + 1] = (.5 + .125 * (index + 1)) * weight
            weights[1, 2 * index] = (.5 - .125 * (index + 1)) * weight
    generator = AMTMaskGenerator(.25, .25, throw=throw, unit=unit)
    plan = generator(draws, grid, weights.flatten().expand(draws, -1), generator=seeded())
    assert counts(plan) == tuple(n * unit**2 for n in (1, 1, 2))
    masked, thrown = (ids[:, 0] % grid[1] // unit + ids[:, 0] // grid[1] * (2 if unit == 1 else 0)
                      for ids in (plan.masked, plan.thrown))
    law = throwing_law(unit_weights, throw)
    assert sum(law.values()) == pytest.approx(1)
    found = [int(((masked == i) & (thrown == j)).sum()) for i, j in law]
    assert sum(found) == draws
    assert stats.chisquare(found, [draws * p for p in law.values()]).pvalue > SMALL
    for other in set(THROWS) - {throw}:
        wrong = throwing_law(unit_weights, other)
        assert stats.chisquare(found, [draws * wrong[pair] for pair in law]).pvalue < 1e-6


def test_throw_modes_cut_the_same_ranking_differently():
    weights = torch.rand(5, 35, generator=seeded(1)) + .1
    middle, low, random = (AMTMaskGenerator(throw=throw)(5, (5, 7), weights, generator=seeded(2))
                           for throw in THROWS)
    order = torch.cat([middle.masked, middle.thrown, middle.visible], dim=1)
    num_masked, num_thrown, num_visible = counts(middle)
    assert (num_masked, num_thrown, num_visible) == (15, 14, 6)
    assert sets(low.masked) == sets(random.masked) == sets(middle.masked)
    # 'low' throws the end of the ranking and leaves its middle visible.
    assert sets(low.thrown) == sets(order[:, -num_thrown:])
    assert sets(low.visible) == sets(order[:, num_masked:num_masked + num_visible])
    assert sets(random.thrown) not in (sets(middle.thrown), sets(low.thrown))


def test_mask_random_masks_uniformly_among_tokens_that_are_not_thrown():
    """The last in the ranking is thrown; each of the others is masked with equal probability."""
    weights, draws = (1, 2, 3, 6), 20_000
    law = {}  # of (masked, thrown), from the law of the thrown token alone
    for (_, thrown), probability in throwing_law(weights, 'low').items():
        for masked in set(range(4)) - {thrown}:
            law[masked, thrown] = law.get((masked, thrown), 0) + probability / 3
    plan = AMTMaskGenerator(.25, .25, throw='low', mask='random')(
        draws, (1, 4), torch.tensor([weights]).float().expand(draws, -1), generator=seeded(9))
    assert counts(plan) == (1, 1, 2)
    found = [int(((plan.masked[:, 0] == i) & (plan.thrown[:, 0] == j)).sum()) for i, j in law]
    assert sum(found) == draws
    assert stats.chisquare(found, [draws * p for p in law.values()]).pvalue > SMALL


@pytest.mark.parametrize('unit', [1, 2])
def test_visible_random_is_uniform_and_the_rest_is_ranked_by_weight(unit):
    """Each pair is visible with equal probability; of the other two one is masked by weight."""
    weights, draws = (1, 2, 3, 6), 20_000
    law = {(i, j): 1 / 6 * weights[i] / (weights[i] + weights[j])
           for i, j in permutations(range(4), 2)}
    tokens = torch.tensor(weights).float().repeat_interleave(unit).repeat(unit)
    plan = AMTMaskGenerator(.25, .25, visible='random', unit=unit)(
        draws, (unit, 4 * unit), tokens.expand(draws, -1), generator=seeded(9))
    assert_partition(plan)
    assert counts(plan) == tuple(n * unit**2 for n in (1, 1, 2))
    masked, thrown = (ids[:, 0] % (4 * unit) // unit for ids in (plan.masked, plan.thrown))
    found = [int(((masked == i) & (thrown == j)).sum()) for i, j in law]
    assert sum(found) == draws
    assert stats.chisquare(found, [draws * p for p in law.values()]).pvalue > SMALL


@pytest.mark.parametrize(('settings', 'named'), [
    (dict(mask='low'), 'mask='), (dict(mask='random'), 'mask='),
    (dict(mask='random', throw='low', hint_ratio=.1), 'mask='), (dict(visible='low'), 'visible='),
    (dict(visible='random', throw='low'), 'visible='),
    (dict(visible='random', hint_ratio=.1), 'visible='),
    (dict(visible='random', throw='low', mask='random'), 'visible=')])
def test_incompatible_settings_are_rejected(settings, named):
    with pytest.raises(InputError, match=named):
        AMTMaskGenerator(**settings)


def test_random_throwing_ignores_weights():
    # Each token that is not masked is thrown with the same probability.
    weights = torch.linspace(.05, 1, 35).expand(20_000, -1)
    plan = AMTMaskGenerator(throw='random')(20_000, (5, 7), weights, generator=seeded(3))
    states = plan.states()
    free = (states != 1).sum(dim=0).double()
    thrown = (states == 2).sum(dim=0).double()
    deviation = (thrown - free * 14 / 20) / (free * 14 / 20 * 6 / 20).sqrt()
    assert float(deviation.abs().max()) < 4.5
    assert free[0] > 2 * free[-1], 'masking ignores weights'


@pytest.mark.parametrize('throw', THROWS)
def test_attended_tokens_are_masked_and_throw_decides_among_the_rest(throw):
    weights = torch.rand(400, 196, generator=seeded(4))**2
    plan = AMTMaskGenerator(throw=throw)(400, (14, 14), weights, generator=seeded(5))
    masked, thrown, visible = (float(weights.gather(1, ids).mean())
                               for ids in (plan.masked, plan.thrown, plan.visible))
    assert masked > 1.3 * max(thrown, visible)
    if throw == 'middle':
        assert thrown > 1.5 * visible
    elif throw == 'low':
        assert visible > 1.5 * thrown
    else:
        assert thrown == pytest.approx(visible, rel=.05)


@pytest.mark.parametrize('throw', THROWS)
def test_only_the_unusable_row_falls_back_to_random(throw):
    # Each token of the unusable sample is masked, thrown and visible by the ratios.
    grid, draws = (5, 7), 6000
    weights = torch.linspace(.01, 1, 35).repeat(2 * draws, 1)
    weights[::2, 3] = float('nan')
    plan = AMTMaskGenerator(throw=throw)(2 * draws, grid, weights, generator=seeded(6))
    for kind, number in ((1, 15), (2, 14), (0, 6)):
        share = number / 35
        found = (plan.states() == kind)[::2].sum(dim=0).double()
        statistic = ((found - draws * share)**2).sum() / (draws * share * (1 - share))
        assert stats.chi2.sf(float(statistic) * 34 / 35, 34) > SMALL
    guided = (plan.states() == 1)[1::2].double().mean(dim=0)
    assert guided[-1] > 3 * guided[0]


def test_nan_in_a_unit_affects_only_its_sample():
    weights = torch.zeros(2, 36)
    weights[:, :6] = 1
    weights[1, 20] = float('nan')
    generator = AMTMaskGenerator(.33, .34, unit=2)
    states = generator(120, (6, 6), weights.repeat(60, 1), generator=seeded(9)).states()
    hits = (states[:, :6:2] == 1).sum(dim=1).view(60, 2).sum(dim=0)
    # Nine units, two masked; three carry all the weight.
    assert hits[0] == 120
    assert 20 < hits[1] < 65


def test_random_generator_ignores_weights():
    generator = RandomMaskGenerator(.45, .40)
    weights = torch.linspace(0, 1, 35).expand(3, -1)
    blind, seeing = (generator(3, (5, 7), given, generator=seeded(7)) for given in (None, weights))
    assert torch.equal(blind.states(), seeing.states())


@pytest.mark.parametrize('name', GENERATORS)
def test_plans_are_reproducible_by_the_random_generator(name):
    weights = torch.rand(4, 35, generator=seeded(8))
    plans = [GENERATORS[name]()(4, (5, 7), weights, generator=seeded(seed)).states()
             for seed in (9, 9, 10)]
    assert torch.equal(plans[0], plans[1])
    assert not torch.equal(plans[0], plans[2])


@pytest.mark.parametrize(('make', 'field'), [
    (lambda: AMTMaskGenerator(throw='high'), 'throw='),
    (lambda: AMTMaskGenerator(.6, .4), 'sum to 1'),
    (lambda: AMTMaskGenerator(-.1), 'mask_ratio'),
    (lambda: AMTMaskGenerator(warmup_mask_ratio=1.0), 'warmup_mask_ratio=1.0'),
    (lambda: AMTMaskGenerator(warmup_mask_ratio=.001)(1, (2, 2)), 'warmup_mask_ratio=0.001'),
    (lambda: AMTMaskGenerator(warmup_throw_ratio=.25), 'warmup_throw_ratio=0.25 sum to 1'),
    (lambda: AMTMaskGenerator(warmup_throw_ratio=-.1), 'warmup_throw_ratio=-0.1'),
    (lambda: RandomMaskGenerator(warmup_throw_ratio=.5), 'warmup_throw_ratio'),
    (lambda: AMTMaskGenerator(unit=True), 'unit=True'),
    (lambda: AMTMaskGenerator(unit=0), 'unit=0'),
    (lambda: AMTMaskGenerator(unit=1.5), 'unit=1.5'),
    (lambda: AMTMaskGenerator(rounding='up'), 'rounding='),
    (lambda: RandomMaskGenerator(0), 'mask_ratio'),
    (lambda: RandomMaskGenerator(warmup_mask_ratio=.5), 'warmup_mask_ratio')])
def test_invalid_arguments_are_reported_in_one_line(make, field):
    with pytest.raises(InputError, match=field) as caught:
        make()
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize(('grid', 'weights', 'field'), [
    ((5, 7), None, 'unit=2'),
    ((6, 8), torch.rand(2, 47), '6x8'),
    ((6, 8), torch.rand(3, 48), '2 samples'),
    ((2, 2), torch.rand(2, 4), '1 tokens')])
def test_invalid_batches_are_reported_in_one_line(grid, weights, field):
    with pytest.raises(InputError, match=field):
        AMTMaskGenerator(unit=2)(2, grid, weights)


@pytest.mark.slow
def test_core_imports_only_torch_and_numpy():
    code = ('import sys, amt_mm.masking, amt_mm.saliency\n'
            'print(*sorted({name.split(".")[0] for name in sys.modules}))')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True,
                          cwd=Path(amt_mm.__file__).parents[1])
    loaded = set(done.stdout.split())
    assert {'torch', 'numpy', 'amt_mm'} <= loaded
    assert not loaded & {'mmengine', 'mmcv', 'mmpretrain', 'mmdet', 'torchvision', 'cv2', 'timm',
                         'PIL', 'scipy', 'sklearn'}
