"""Weightings against numpy and SciPy, and the distribution of the first token."""

import math

import numpy as np
import pytest
import torch
from partitions import assert_partition
from scipy import stats

from amt_mm.errors import InputError
from amt_mm.masking import AMTMaskGenerator, AnnealedMaskGenerator, Weighting, usable_rows

SALIENCY = (0., .1, .1, .5, 1.)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def by_hand(row, by_rank=False, invert=False, cap=None, temperature=1, uniform=0):
    """The documented steps for one row, in numpy."""
    w = np.asarray(row, float)
    if by_rank:
        w = stats.rankdata(-w if invert else w) / len(w)
    elif invert:
        w = w.max() + w.min() - w
    if cap is not None:
        w = np.minimum(w, np.quantile(w, cap))
    if temperature != 1:
        w = np.maximum(w / w.max(), 1e-6) ** (1 / temperature)
    return (1 - uniform) * w / w.mean() + uniform


CASES = [dict(temperature=2), dict(temperature=.5), dict(uniform=.5), dict(by_rank=True),
         dict(cap=.75), dict(invert=True), dict(by_rank=True, invert=True),
         dict(invert=True, cap=.5, temperature=3, uniform=.2),
         dict(by_rank=True, cap=.6, temperature=1.5), dict(cap=.9, uniform=1.)]


@pytest.mark.parametrize('case', CASES, ids=str)
def test_each_setting_equals_its_formula(case):
    saliency = torch.rand(6, 35, generator=seeded(1))
    saliency[1] = (saliency[1] * 4).round() / 4  # ties
    saliency[2, :20] = 0
    saliency[3] *= 1e-3
    weights = Weighting(**case)(saliency)
    weights = weights / weights.mean(dim=1, keepdim=True)
    wanted = np.stack([by_hand(row, **case) for row in saliency.double().numpy()])
    wanted /= wanted.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(weights.numpy(), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('case', CASES, ids=str)
@pytest.mark.parametrize('unit', [1, 2])
def test_the_first_token_is_drawn_by_these_weights(case, unit):
    draws = 20_000
    generator = AMTMaskGenerator(.2, .2, weighting=case, unit=unit)
    tokens = torch.tensor(SALIENCY).repeat_interleave(unit).repeat(unit)
    plan = generator(draws, (unit, 5 * unit), tokens.expand(draws, -1), generator=seeded())
    assert_partition(plan)
    found = (plan.masked[:, 0] % (5 * unit) // unit).bincount(minlength=5).numpy()
    share = by_hand(SALIENCY, **case)
    share /= share.sum()
    likely = share * draws > 5
    assert found[~likely].sum() <= 5 * (share[~likely] * draws).sum() + 5
    assert stats.chisquare(found[likely], share[likely] / share[likely].sum()
                           * found[likely].sum()).pvalue > 1e-3
    plain = np.asarray(SALIENCY) / sum(SALIENCY) * draws
    assert abs(found - plain).max() > 300, 'the setting has no effect'


@pytest.mark.parametrize('kind', [AMTMaskGenerator, AnnealedMaskGenerator])
def test_default_weights_are_the_saliency(kind):
    saliency = torch.rand(4, 35, generator=seeded(2))
    saliency[1, :30] = 0
    assert Weighting()(saliency) is saliency
    plans = []
    for given in ({}, dict(weighting=dict(temperature=1, uniform=0)), dict(hint_ratio=0)):
        generator = kind(**given)
        generator.progress = 1.
        plan = generator(4, (5, 7), saliency, generator=seeded(3))
        plans.append(torch.cat([plan.masked, plan.thrown, plan.visible], dim=1))
    assert torch.equal(plans[0], plans[1]) and torch.equal(plans[0], plans[2])


def test_default_ranking_equals_a_sort_of_exponential_variables():
    saliency = torch.rand(3, 35, generator=seeded(4)) + .01
    clocks = torch.empty_like(saliency).exponential_(generator=seeded(5))
    wanted = (clocks / (saliency / saliency.amax(dim=1, keepdim=True))).argsort(dim=1)
    plan = AMTMaskGenerator()(3, (5, 7), saliency, generator=seeded(5))
    assert torch.equal(torch.cat([plan.masked, plan.thrown, plan.visible], dim=1), wanted)


@pytest.mark.parametrize('case', CASES, ids=str)
def test_unusable_rows_stay_unusable_and_do_not_affect_others(case):
    saliency = torch.rand(6, 9, generator=seeded(6))
    saliency[0], saliency[1] = 0, .3
    saliency[2, 4], saliency[3, 4], saliency[4, 4] = math.nan, math.inf, -.1
    weights = Weighting(**case)(saliency)
    assert not usable_rows(weights)[:5].any()
    assert usable_rows(weights)[5] == (case.get('uniform') != 1)
    # How a power rounds may depend on the place in the tensor.
    torch.testing.assert_close(weights[5:], Weighting(**case)(saliency[5:]), rtol=1e-6, atol=0)
    others = torch.rand(6, 9, generator=seeded(7))
    others[5] = saliency[5]
    assert torch.equal(weights[5], Weighting(**case)(others)[5])


def test_high_temperature_and_uniform_1_are_random_masking():
    saliency = torch.zeros(6000, 35)
    saliency[:, :5] = torch.rand(5, generator=seeded(7))
    for case in (dict(temperature=1e9), dict(uniform=1)):
        plan = AMTMaskGenerator(weighting=case)(6000, (5, 7), saliency, generator=seeded(8))
        masked = (plan.states() == 1).float().mean(dim=0)
        assert (masked - 15 / 35).abs().max() < 5 * (.25 / 6000)**.5


def test_invert_masks_the_least_attended():
    saliency = torch.rand(300, 35, generator=seeded(9))
    means = [float(saliency.gather(1, AMTMaskGenerator(weighting=case)(
        300, (5, 7), saliency, generator=seeded(10)).masked).mean())
        for case in (None, dict(invert=True), dict(by_rank=True, invert=True))]
    assert means[0] > .6 and max(means[1:]) < .4


def test_annealing_mixes_the_result_of_the_weighting():
    generator = AnnealedMaskGenerator(weighting=dict(by_rank=True))
    generator.progress = .25
    row = torch.tensor([SALIENCY])
    ranks = torch.from_numpy(stats.rankdata(SALIENCY)) / 5
    assert torch.allclose(generator.weigh(row)[0], (.75 * ranks.mean() + .25 * ranks).float())


@pytest.mark.parametrize(('given', 'field'), [
    (dict(temperature=0), 'weighting.temperature=0'), (dict(temperature='2'), "temperature='2'"),
    (dict(temperature=math.inf), 'temperature=inf'), (dict(uniform=1.1), 'uniform=1.1'),
    (dict(uniform=True), 'uniform=True'), (dict(cap=1.), 'cap=1.0'), (dict(cap=0), 'cap=0'),
    (dict(by_rank=1), 'by_rank=1'), (dict(invert='yes'), "invert='yes'"),
    (dict(sharpness=1), 'weighting.sharpness'), ('soft', "weighting='soft'")])
def test_invalid_settings_are_reported_in_one_line(given, field):
    with pytest.raises(InputError, match=field) as caught:
        AMTMaskGenerator(weighting=given)
    assert '\n' not in str(caught.value)
