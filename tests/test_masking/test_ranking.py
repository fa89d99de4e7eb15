from itertools import permutations

import pytest
import torch
from scipy import stats

from amt_mm.masking import rank_by_sampling, rank_uniform, usable_rows
from amt_mm.saliency import resample

DRAWS = 40_000
# Seeds are fixed, so p-values are constants: below this the distribution is wrong.
SMALL = 1e-3


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def plackett_luce(weights):
    """Exact probability of each permutation, by the definition."""
    law = {}
    for order in permutations(range(len(weights))):
        left, probability = sum(weights), 1.0
        for token in order:
            probability *= weights[token] / left
            left -= weights[token]
        law[order] = probability
    return law


def count_orders(orders):
    width = orders.shape[1]
    codes = (orders * width**torch.arange(width)).sum(dim=1)
    found = torch.bincount(codes, minlength=width**width)
    return {order: int(found[sum(token * width**place for place, token in enumerate(order))])
            for order in permutations(range(width))}


def p_value(counts, law):
    total = sum(counts.values())
    assert sum(law.values()) == pytest.approx(1)
    return stats.chisquare([counts[order] for order in law],
                           [law[order] * total for order in law]).pvalue


@pytest.mark.parametrize('weights', [(1, 2, 3, 4), (5, 1, 1, .5), (1, 1, 1, 1),
                                     (.2, .3, .1, .9, 1)])
def test_frequencies_follow_plackett_luce(weights):
    # Of every permutation, not only of the first place.
    rows = torch.tensor(weights, dtype=torch.float32).expand(DRAWS, -1)
    orders = rank_by_sampling(rows, seeded())
    counts = count_orders(orders)
    assert sum(counts.values()) == DRAWS
    assert p_value(counts, plackett_luce(weights)) > SMALL


def test_chi_square_detects_a_wrong_distribution():
    # The same draws against a weight that is 10 % off, and against the reversed order.
    orders = rank_by_sampling(torch.tensor([1., 2, 3, 4]).expand(DRAWS, -1), seeded())
    assert p_value(count_orders(orders), plackett_luce((1, 2, 3, 4.4))) < 1e-6
    assert p_value(count_orders(orders.flip(1)), plackett_luce((1, 2, 3, 4))) < 1e-6


def test_frequencies_equal_multinomial_without_replacement():
    # torch's own sampler as a second reference.
    weights = torch.tensor([.05, .4, .15, .3, .1])
    ours = count_orders(rank_by_sampling(weights.expand(DRAWS, -1), seeded(1)))
    theirs = count_orders(torch.multinomial(weights.expand(DRAWS, -1), 5, generator=seeded(2)))
    table = [[ours[order], theirs[order]] for order in ours if ours[order] + theirs[order] >= 10]
    assert stats.chi2_contingency(table).pvalue > SMALL


def test_only_ratios_of_weights_matter():
    weights = torch.rand(50, 35, generator=seeded()) + .01
    wanted = rank_by_sampling(weights, seeded(3))
    for factor in (2.0**-100, 2.0**-20, 2.0**60):
        assert torch.equal(rank_by_sampling(weights * factor, seeded(3)), wanted)


def marginal_p_value(chosen, share):
    """Chi-square test of how often each token was among a fixed number of chosen ones.

    The counts sum to a constant, hence the factor (N - 1) / N and N - 1 degrees of freedom.
    """
    draws, tokens = chosen.shape
    counts = chosen.sum(dim=0).double()
    statistic = ((counts - draws * share)**2).sum() / (draws * share * (1 - share))
    return stats.chi2.sf(float(statistic) * (tokens - 1) / tokens, tokens - 1)


@pytest.mark.parametrize('rank', [
    lambda: rank_uniform(20_000, 35, generator=seeded()),
    lambda: rank_by_sampling(torch.full((20_000, 35), .3), seeded()),
    # Not constant, so without fallback, yet uniform except for a millionth.
    lambda: rank_by_sampling(torch.tensor([1.] * 34 + [1.000001]).expand(20_000, -1), seeded())])
def test_uniform_weights_mask_each_token_with_probability_r(rank):
    # The marginal distribution of MAE; 15 of 35 is a ratio of .45.
    order = rank()
    masked = torch.zeros(order.shape).scatter_(1, order[:, :15], 1)
    assert marginal_p_value(masked, 15 / 35) > SMALL
    assert p_value(count_orders(order[:, :35].argsort(dim=1)[:, :4].argsort(dim=1)),
                   plackett_luce((1, 1, 1, 1))) > SMALL


@pytest.mark.parametrize('rank', [rank_uniform, lambda b, n, generator: rank_by_sampling(
    torch.rand(b, n, generator=generator), generator)])
def test_rankings_are_permutations_and_reproducible_by_the_random_generator(rank):
    for batch_size, tokens in ((1, 35), (3, 196)):
        order = rank(batch_size, tokens, generator=seeded(5))
        assert order.dtype == torch.int64
        assert torch.equal(order.sort(dim=1).values, torch.arange(tokens).expand(batch_size, -1))
        assert torch.equal(rank(batch_size, tokens, generator=seeded(5)), order)
        assert not torch.equal(rank(batch_size, tokens, generator=seeded(6)), order)


def test_samples_of_a_batch_are_drawn_independently():
    order = rank_by_sampling(torch.arange(1., 36).expand(64, -1), seeded())
    assert len({tuple(row) for row in order.tolist()}) == 64


NAN, INF = float('nan'), float('inf')
UNUSABLE = {
    'nan': [.1, NAN, .3, .2, .9], 'all nan': [NAN] * 5, 'inf': [.1, INF, .3, .2, .9],
    'minus inf': [.1, -INF, .3, .2, .9], 'both inf': [INF, -INF, 0, 0, 1],
    'nan and inf': [INF, NAN, 0, 0, 1], 'zero': [0] * 5, 'constant': [.7] * 5,
    'negative': [.1, -.2, .3, .2, .9], 'all negative': [-1, -2, -3, -4, -5]}


@pytest.mark.parametrize('name', UNUSABLE)
def test_only_the_unusable_row_is_uniform(name):
    good = [1., 2, 3, 4, 10]
    weights = torch.tensor([good, UNUSABLE[name], good]).repeat(12_000, 1)
    assert usable_rows(weights[:3]).tolist() == [True, False, True]
    order = rank_by_sampling(weights, seeded(7))
    assert p_value(count_orders(order[1::3]), plackett_luce([1] * 5)) > SMALL
    for first in (0, 2):
        assert p_value(count_orders(order[first::3]), plackett_luce(good)) > SMALL


def test_the_inside_of_a_plateau_is_unusable_despite_rounding():
    """A ranking of such weights, as `by_rank` makes, would be one of rounding errors."""
    side = torch.linspace(.05, 1, 500)[:, None]
    start = torch.rand(500, 2, generator=seeded()) * (1 - side)
    plateau = torch.full((500, 14, 14), .7)
    weights = resample(plateau, torch.cat([start, start + side], dim=1), (14, 14))
    assert (weights.amax(dim=1) > weights.amin(dim=1)).any()
    assert not usable_rows(weights).any()
    plateau[:, 0, 0] -= 2**-11  # the next value in half precision
    assert usable_rows(resample(plateau, torch.tensor([[0., 0, 1, 1]]).expand(500, -1),
                                (14, 14))).all()


def test_weights_are_not_modified():
    weights = torch.tensor([[NAN, 1, 2], [0, 1, 2]])
    rank_by_sampling(weights, seeded())
    assert torch.equal(weights.isnan(), torch.tensor([[True, False, False], [False] * 3]))
    assert weights[1].tolist() == [0, 1, 2]


@pytest.mark.parametrize('zero', [0., 1e-38, 1e-12])
def test_zero_weights_come_last_in_random_order(zero):
    # Neither before others nor in a fixed order among themselves.
    weights = torch.tensor([zero, .5, zero, 1, zero])
    order = rank_by_sampling(weights.expand(DRAWS, -1), seeded(4))
    last = order[:, 2:]
    in_the_end = (last % 2 == 0).all(dim=1)
    assert in_the_end.double().mean() > .9998
    assert p_value(count_orders(last[in_the_end] // 2), plackett_luce([1] * 3)) > SMALL
    # The others keep their distribution: 1 comes before .5 two times in three.
    share = float((order[in_the_end][:, 0] == 3).double().mean())
    assert share == pytest.approx(2 / 3, abs=.01)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes_have_the_same_distribution(dtype):
    weights = torch.tensor([1, 2, 3, 4], dtype=dtype).expand(DRAWS, -1)
    counts = count_orders(rank_by_sampling(weights, seeded(8)))
    assert p_value(counts, plackett_luce((1, 2, 3, 4))) > SMALL


def test_default_random_generator_is_torchs():
    weights = torch.rand(4, 35, generator=seeded())
    torch.manual_seed(11)
    first = rank_by_sampling(weights), rank_uniform(4, 35)
    torch.manual_seed(11)
    assert torch.equal(rank_by_sampling(weights), first[0])
    assert torch.equal(rank_uniform(4, 35), first[1])
