"""Position embeddings: an explicit cubic kernel, with and without [CLS], any grid."""

import math

import numpy as np
import pytest
import torch

from amt_mm.checkpoints import fit_positions
from amt_mm.checkpoints.positions import lacks_cls_position
from amt_mm.errors import InputError


def cubic(size, out, a=-.75):
    """Weights (out, size) of cubic convolution between cell centres, borders repeated."""
    weights = np.zeros((out, size))
    for i in range(out):
        x = (i + .5) * size / out - .5
        for j in range(math.floor(x) - 1, math.floor(x) + 3):
            d = abs(x - j)
            weights[i, min(max(j, 0), size - 1)] += (
                (a + 2) * d**3 - (a + 3) * d**2 + 1 if d <= 1 else
                a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a)
    return weights


def slow(image, grid):
    rows, columns = cubic(image.shape[0], grid[0]), cubic(image.shape[1], grid[1])
    return torch.from_numpy(np.einsum('yh,xw,hwd->yxd', rows, columns, image.double().numpy()))


@pytest.mark.parametrize('with_cls', [True, False])
@pytest.mark.parametrize('own', ['cls', 'plain', 'map'])
@pytest.mark.parametrize(('grid', 'own_grid'), [
    ((4, 4), (7, 7)), ((5, 7), (3, 9)), ((3, 4), (4, 3)), ((5, 7), (5, 7)), ((1, 3), (2, 2))])
def test_patches_are_interpolated_and_cls_stays(grid, own_grid, own, with_cls):
    torch.manual_seed(0)
    image = torch.randn(*grid, 6)
    cls_token, own_cls = torch.randn(1, 6), torch.randn(1, 6)
    positions = image.flatten(0, 1)[None]
    if with_cls:
        positions = torch.cat([cls_token[None], positions], dim=1)
    count = own_grid[0] * own_grid[1]
    target = {'cls': torch.cat([own_cls[None], torch.zeros(1, count, 6)], dim=1),
              'plain': torch.zeros(1, count, 6), 'map': torch.zeros(1, *own_grid, 6)}[own]
    out, before, after = fit_positions(positions, target, with_cls, own == 'cls', grid, own_grid)
    assert out.shape == target.shape
    assert (before, after) == ((None, None) if grid == own_grid else (grid, own_grid))
    patches = out[:, 1:] if own == 'cls' else out.reshape(1, -1, 6)
    torch.testing.assert_close(patches[0].double(), slow(image, own_grid).flatten(0, 1),
                               atol=1e-5, rtol=0)
    if own == 'cls':
        assert torch.equal(out[0, :1], cls_token if with_cls else own_cls)


def test_the_same_grid_keeps_every_bit():
    positions = torch.randn(1, 36, 4)
    out, *_ = fit_positions(positions, torch.zeros(1, 36, 4), True, True, (5, 7), (5, 7))
    assert torch.equal(out, positions)


@pytest.mark.parametrize(('grid', 'own_grid', 'before'), [
    (None, (5, 7), None),       # as many as the model's: its grid
    (None, (3, 9), None),       # not square
    ((2, 2), (5, 7), None),     # contradicts the number of positions: ignored
    ((7, 5), (5, 7), (7, 5)),   # as many, on the other grid
])
def test_the_grid_is_inferred(grid, own_grid, before):
    positions, own = torch.randn(1, 35, 4), torch.zeros(1, own_grid[0] * own_grid[1], 4)
    if own_grid == (3, 9):
        with pytest.raises(InputError, match='35 position embeddings.* to 27'):
            fit_positions(positions, own, False, False, grid, own_grid)
    else:
        assert fit_positions(positions, own, False, False, grid, own_grid)[1] == before


def test_a_map_brings_its_grid():
    image = torch.randn(1, 3, 5, 4)
    out, before, _ = fit_positions(image, torch.zeros(1, 16, 4), True, False, None, (4, 4))
    assert before == (3, 5)
    torch.testing.assert_close(out[0].double(), slow(image[0], (4, 4)).flatten(0, 1), atol=1e-5,
                               rtol=0)


@pytest.mark.parametrize('dtype', [torch.half, torch.bfloat16])
def test_half_precision_is_rounded_once_at_the_end(dtype):
    positions = torch.randn(1, 16, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    out, *_ = fit_positions(positions, torch.zeros(1, 49, 4), False, False)
    expected = slow(positions[0].float().reshape(4, 4, 4), (7, 7)).flatten(0, 1)
    assert out.dtype == dtype
    # Half a unit in the last place, and what fp32 itself rounds off.
    unit = torch.finfo(dtype).eps * expected.abs()
    assert ((out[0].double() - expected).abs() <= .5 * unit + 1e-6).all()


@pytest.mark.parametrize(('count', 'grids', 'guess', 'lacks'), [
    (196, [], True, True), (196, [], False, False), (197, [], True, False),
    (35, [None, (5, 7)], False, True), (36, [(5, 7)], True, False), (36, [(6, 6)], False, True),
    # 13 x 15 and [CLS], or 14 x 14: what is known decides.
    (196, [(13, 15)], True, False), (196, [(14, 14)], True, True), (35, [(4, 4)], True, False)])
def test_whether_cls_has_a_position(count, grids, guess, lacks):
    assert lacks_cls_position(torch.zeros(1, count, 2), grids, guess) is lacks
