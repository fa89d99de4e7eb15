"""Fused attention with decomposed relative positions against the formula in plain loops."""

import math

import pytest
import torch

from amt_mm.detection import RelativeAttention, expand_relative_positions

HEADS, DEPTH = 3, 5


def distance_value(table, distance, length):
    """Entry of a distance on an axis of ``length``, from a table for another length."""
    wanted = 2 * length - 1
    at = (distance + length - 1 + .5) * len(table) / wanted - .5
    at = min(max(at, 0), len(table) - 1)
    low = math.floor(at)
    high = min(low + 1, len(table) - 1)
    return table[low] * (1 - (at - low)) + table[high] * (at - low)


def slow_attention(module, x):
    """MViTv2's equation 4 without scaling of the query in the relative terms, in loops."""
    batch, rows, columns, width = x.shape
    cells = [(i, j) for i in range(rows) for j in range(columns)]
    out = torch.empty_like(x)
    for b in range(batch):
        qkv = {cell: module.qkv(x[b][cell]).view(3, HEADS, DEPTH) for cell in cells}
        attended = {cell: [] for cell in cells}
        for head in range(HEADS):
            for i, j in cells:
                q = qkv[i, j][0, head]
                logits = []
                for k, m in cells:
                    logit = q @ qkv[k, m][1, head] / math.sqrt(DEPTH)
                    if module.use_rel_pos:
                        logit = logit + q @ distance_value(module.rel_pos_h, i - k, rows)
                        logit = logit + q @ distance_value(module.rel_pos_w, j - m, columns)
                    logits.append(logit)
                weights = torch.stack(logits).softmax(0)
                values = torch.stack([qkv[cell][2, head] for cell in cells])
                attended[i, j].append(weights @ values)
        for cell in cells:
            out[b][cell] = module.proj(torch.cat(attended[cell]))
    return out


def make(use_rel_pos=True, input_size=(3, 4)):
    torch.manual_seed(0)
    module = RelativeAttention(HEADS * DEPTH, HEADS, use_rel_pos=use_rel_pos,
                               input_size=input_size).double()
    for name, parameter in module.named_parameters():
        if 'rel_pos' in name:
            torch.nn.init.normal_(parameter)
    return module


@pytest.mark.parametrize('use_rel_pos', [True, False])
@pytest.mark.parametrize('grid', [(3, 4), (5, 3), (1, 1)], ids=str)
def test_equals_formula(use_rel_pos, grid):
    module = make(use_rel_pos)
    x = torch.randn(2, *grid, HEADS * DEPTH, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(module(x), slow_attention(module, x), rtol=1e-10, atol=1e-10)


def test_gradients_equal_formula():
    module = make()
    x = torch.randn(1, 3, 4, HEADS * DEPTH, dtype=torch.float64)
    pull = torch.randn_like(x)

    def gradients(output):
        return torch.autograd.grad((output * pull).sum(), list(module.parameters()))

    slow = torch.zeros_like(x)
    slow = slow + slow_attention(module, x)
    for fast, exact in zip(gradients(module(x)), gradients(slow), strict=True):
        torch.testing.assert_close(fast, exact, rtol=1e-9, atol=1e-9)


def test_equals_mmpretrain():
    from mmpretrain.models.backbones.vit_sam import Attention
    module = make(input_size=(6, 7))
    other = Attention(HEADS * DEPTH, HEADS, use_rel_pos=True, input_size=(6, 7)).double()
    other.load_state_dict(module.state_dict())
    for grid in (6, 7), (9, 4):
        x = torch.randn(2, *grid, HEADS * DEPTH, dtype=torch.float64)
        torch.testing.assert_close(module(x), other(x))


def test_stores_no_matrix_of_all_pairs():
    """No tensor saved for the backward pass has N x N entries."""
    module = make(input_size=(16, 24)).float()
    pairs = (16 * 24) ** 2
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
            lambda t: sizes.append(t.numel()) or t, lambda t: t):
        module(torch.randn(1, 16, 24, HEADS * DEPTH)).sum()
    assert sizes and max(sizes) < pairs


def test_expand_relative_positions_by_distance():
    rows = expand_relative_positions(torch.arange(5.)[:, None], 3)  # distances -2 to 2
    assert rows[:, 0].tolist() == [[2, 1, 0], [3, 2, 1], [4, 3, 2]]
