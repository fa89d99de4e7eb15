"""TokenMask against loops over crops and tokens."""

import pytest
import torch

from amt_mm.masking import TokenMask


@pytest.mark.parametrize(('counts', 'grid'), [
    ([3, 0, 35, 1], (5, 7)), ([0], (2, 3)), ([0, 0], (2, 3)), ([2], (1, 4))])
def test_first_tokens_of_each_ranking_are_masked(counts, grid):
    num = grid[0] * grid[1]
    order = torch.rand(len(counts), num).argsort(dim=1)
    mask = TokenMask.from_order(order, torch.tensor(counts), grid)
    tokens = torch.randn(len(counts), num, 6)
    wanted = [(b, int(order[b, j])) for b, count in enumerate(counts) for j in range(count)]
    assert list(zip(mask.crop.tolist(), mask.token.tolist(), strict=True)) == wanted
    assert mask.batch_size == len(counts)
    states = torch.tensor([[(b, n) in wanted for n in range(num)] for b in range(len(counts))])
    assert torch.equal(mask.states(), states)
    taken = [tokens[b, n] for b, n in wanted]
    assert torch.equal(mask.take(tokens), torch.stack(taken) if taken else torch.empty(0, 6))


def test_loss_weights_average_over_tokens_then_over_all_crops():
    counts = [3, 0, 5]
    mask = TokenMask.from_order(torch.rand(3, 6).argsort(dim=1), torch.tensor(counts), (2, 3))
    losses = torch.rand(8)
    means = [losses[:3].mean(), torch.tensor(0.), losses[3:].mean()]
    assert torch.allclose((losses * mask.loss_weights()).sum(), sum(means) / 3)
