"""CropMasking: the random draws of iBOT and AttMask, by their statistics."""

import math

import pytest
import torch

from amt_mm.errors import InputError
from amt_mm.masking import CropMasking

GRID, N = (14, 14), 196
WEIGHTED = ['high', 'low', 'hint', 'sampled']


def draw(masking, times, batch_size=6, grid=GRID):
    """Counts of many batches, ``(times, B)``."""
    weights = torch.rand(batch_size, grid[0] * grid[1])
    return torch.stack([masking(batch_size, grid, weights).counts for _ in range(times)])


@pytest.mark.parametrize('strategy', ['high', 'low', 'sampled'])
def test_attmask_draws_one_ratio_per_batch_and_a_gate_per_crop(strategy):
    counts = draw(CropMasking(strategy), 800)
    masked = counts > 0
    assert abs(masked.float().mean() - .5) < 4.5 * math.sqrt(.25 / masked.numel())
    # Gates of the crops of a batch are independent.
    together = torch.corrcoef(masked.float().T) - torch.eye(6)
    assert together.abs().max() < .18
    for row, mask in zip(counts, masked, strict=True):
        assert len(row[mask].unique()) <= 1
    shared = counts.amax(dim=1)[masked.any(dim=1)].float()
    assert shared.min() >= 19 and shared.max() <= 97
    # floor(N r) with r uniform in [.1, .5).
    assert abs(shared.mean() / N - (.3 - .5 / N)) < 4.5 * .4 / math.sqrt(12 * len(shared))


@pytest.mark.parametrize('strategy', ['random', 'block'])
def test_ibot_draws_one_ratio_per_crop(strategy):
    counts = draw(CropMasking(strategy), 300)
    masked = counts > 0
    assert abs(masked.float().mean() - .5) < .05
    assert any(len(row[mask].unique()) > 1 for row, mask in zip(counts, masked, strict=True))
    assert abs(counts[masked].float().mean() / N - .2975) < .02


def test_number_of_hints_follows_a_second_draw_of_the_ratio():
    """The same draws on the host with and without hints differ by the number of hints."""
    shown, ratios = [], []
    weights = torch.rand(1, N)
    for seed in range(400):
        chance = torch.Generator().manual_seed(seed)
        high = CropMasking('high', gate=1)(1, GRID, weights, host_generator=chance).counts
        chance.manual_seed(seed)
        hint = CropMasking('hint', gate=1)(1, GRID, weights, host_generator=chance).counts
        shown.append(int(high - hint))
        ratios.append(int(high))
    # floor(19.6 r'), r' uniform in [.1, .5): 1 to 9.
    assert set(shown) == set(range(1, 10))
    wanted = sum(math.floor(19.6 * (.1 + .4 * (i + .5) / 1000)) for i in range(1000)) / 1000
    assert abs(sum(shown) / 400 - wanted) < 4.5 * 2.3 / 20
    assert abs(torch.corrcoef(torch.tensor([shown, ratios]).float())[0, 1]) < .2


def test_hint_masks_the_top_except_for_hints_from_the_pool():
    weights = torch.rand(50, N)
    mask = CropMasking('hint', ratio=(.3, .3), gate=1)(50, GRID, weights)
    states = mask.states()
    for row, weight in zip(states, weights, strict=True):
        order = weight.argsort(descending=True)
        assert not row[order[58:]].any()  # floor(.3 N)
        assert row[order[19:58]].all()  # all but the pool, floor(.1 N)
        assert row[order[:19]].sum() == 19 - 5  # floor(.1 N .3)


@pytest.mark.parametrize('strategy', WEIGHTED)
def test_small_odd_grids_and_a_batch_of_one(strategy):
    weights = torch.rand(1, 15)
    mask = CropMasking(strategy, gate=1)(1, (3, 5), weights)
    assert mask.states().sum() == mask.counts.sum()


@pytest.mark.parametrize('wrong', [
    dict(strategy='top'), dict(strategy='high', ratio=(.5, .1)), dict(strategy='high', gate=2),
    dict(strategy='hint', ratio=(.05, .5)), dict(strategy='random', ratio=(.1, 1.0))])
def test_invalid_settings_are_rejected(wrong):
    with pytest.raises(InputError):
        CropMasking(**wrong)


@pytest.mark.parametrize('weights', [None, torch.rand(2, 9)])
def test_missing_attention_is_reported(weights):
    with pytest.raises(InputError, match='needs the attention of 3 crops of 15 tokens'):
        CropMasking('high')(3, (3, 5), weights)
