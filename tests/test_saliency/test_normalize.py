import math

import pytest
import torch
from scipy import stats
from sklearn.preprocessing import minmax_scale

from amt_mm.saliency import entropy, min_max

NAN, INF = float('nan'), float('inf')


@pytest.mark.parametrize('shape', [(1, 35), (4, 196), (3, 2)])
def test_min_max_equals_scikit_learn(shape):
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = torch.from_numpy(minmax_scale(maps.numpy(), axis=1))
    torch.testing.assert_close(min_max(maps), wanted, rtol=0, atol=1e-12)
    assert min_max(maps).amax(dim=1).tolist() == [1] * shape[0]
    assert min_max(maps).amin(dim=1).tolist() == [0] * shape[0]


def test_min_max_reduces_only_the_last_axis():
    maps = torch.rand(2, 3, 35, generator=torch.Generator().manual_seed(1))
    found = min_max(maps)
    for image in range(2):
        for head in range(3):
            assert torch.equal(found[image, head], min_max(maps[image, head][None])[0])


@pytest.mark.parametrize('row', [
    [NAN, .2, .3], [NAN] * 3, [INF, .2, .3], [-INF, .2, .3], [INF, -INF, 0], [INF] * 3,
    [.4, .4, .4], [0, 0, 0], [-3e38, 3e38, 0]])
def test_only_the_constant_or_non_finite_map_becomes_zeros(row):
    good = [.1, .2, .5]
    found = min_max(torch.tensor([good, row, good]))
    assert found[1].tolist() == [0, 0, 0]
    for other in (0, 2):
        assert found[other].tolist() == pytest.approx([0, .25, 1])


def test_tiny_differences_are_preserved():
    # Early in training, attention is nearly uniform.
    maps = torch.tensor([[.005, .005 + 1e-7, .005 - 1e-7]])
    found = min_max(maps)[0]
    assert found[1] == 1
    assert found[2] == 0
    assert 0 < found[0] < 1


def test_entropy_equals_scipy():
    maps = torch.rand(5, 35, generator=torch.Generator().manual_seed(2)) + 1e-3
    maps[0, 10:] = 0
    wanted = [stats.entropy(row) / math.log(35) for row in maps.double().numpy()]
    assert entropy(maps).tolist() == pytest.approx(wanted, abs=1e-6)


def test_entropy_of_the_extremes():
    one_hot = torch.zeros(1, 35)
    one_hot[0, 7] = .3
    maps = torch.cat([one_hot, torch.full((1, 35), .2), torch.zeros(1, 35)])
    assert entropy(maps).tolist() == pytest.approx([0, 1, 1], abs=1e-6)
