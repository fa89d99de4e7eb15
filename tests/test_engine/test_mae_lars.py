"""MAELARS: MAE's LARS, written out step by step."""

import pytest
import torch
from mmpretrain.engine.optimizers import LARS

from amt_mm.engine import MAELARS
from amt_mm.registry import OPTIMIZERS

RATES = [.1, .5, 2., 6.4, 6.3, 3., .7, 0., .2]


def train(kind, rates=RATES, save_at=None, stop=None):
    torch.manual_seed(0)
    weight, bias = (torch.nn.Parameter(torch.randn(size, dtype=torch.float64))
                    for size in ((5, 7), (5, )))
    gradients = torch.randn(len(rates), 5, 8, dtype=torch.float64)
    optimizer = kind([dict(params=[weight]), dict(params=[bias], lars_exclude=True)], lr=.1,
                     momentum=.9)
    for step, rate in enumerate(rates[:stop]):
        if step == save_at:
            state = optimizer.state_dict()
            optimizer = kind([dict(params=[weight]), dict(params=[bias])], lr=9., momentum=0.)
            optimizer.load_state_dict(state)
        for group in optimizer.param_groups:
            group['lr'] = rate
        weight.grad, bias.grad = gradients[step, :, :7], gradients[step, :, 7]
        optimizer.step()
    return weight.detach(), bias.detach()


def by_hand(rates=RATES):
    """``v = m v + q g``, ``p -= lr v``; ``q`` is .001 |p| / |g| for matrices, 1 for vectors."""
    torch.manual_seed(0)
    weight, bias = (torch.randn(size, dtype=torch.float64) for size in ((5, 7), (5, )))
    gradients = torch.randn(len(rates), 5, 8, dtype=torch.float64)
    sums = [0., 0.]
    for rate, gradient in zip(rates, gradients, strict=True):
        parts = gradient[:, :7], gradient[:, 7]
        trust = .001 * weight.norm() / parts[0].norm()
        sums = [.9 * sums[0] + trust * parts[0], .9 * sums[1] + parts[1]]
        weight, bias = weight - rate * sums[0], bias - rate * sums[1]
    return weight, bias


def test_the_rate_is_applied_to_the_momentum():
    rates = [rate for rate in RATES if rate]
    for found, wanted in zip(train(MAELARS, rates), by_hand(rates), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-8, atol=1e-8)
    assert not torch.allclose(train(LARS, rates)[0], by_hand(rates)[0], rtol=1e-3)


def test_a_constant_rate_makes_no_difference():
    for found, wanted in zip(train(MAELARS, [.3] * 5), train(LARS, [.3] * 5), strict=True):
        assert torch.equal(found, wanted)


def test_a_rate_of_zero_empties_the_sum():
    """And only that: the last two steps, of rates 0 and .2, move by .2 times the last gradient."""
    torch.manual_seed(0)
    for size in ((5, 7), (5, )):  # as train() draws
        torch.randn(size, dtype=torch.float64)
    last = torch.randn(len(RATES), 5, 8, dtype=torch.float64)[-1, :, 7]
    moved = train(MAELARS)[1] - train(MAELARS, RATES, stop=len(RATES) - 2)[1]
    torch.testing.assert_close(moved, -.2 * last)


@pytest.mark.parametrize('step', [1, 4])
def test_a_resumed_optimiser_goes_on(step):
    for found, wanted in zip(train(MAELARS, save_at=step), train(MAELARS), strict=True):
        assert torch.equal(found, wanted)


def test_configs_name_it():
    assert OPTIMIZERS.get('amt_mm.MAELARS') is MAELARS
