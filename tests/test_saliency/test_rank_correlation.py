"""rank_correlation against SciPy, with and without ties, and for known cases."""

import pytest
import torch
from scipy.stats import spearmanr

from amt_mm.saliency import rank_correlation


@pytest.mark.parametrize('steps', [None, 4])
@pytest.mark.parametrize('shape', [(9, 5, 7), (1, 3, 2), (6, 35)])
def test_equals_scipy(shape, steps):
    """Maps of few distinct values have ties, as in float16 and uint8 files."""
    generator = torch.Generator().manual_seed(0)
    maps, others = torch.rand(2, *shape, generator=generator)
    if steps:
        maps, others = (maps * steps).round(), (others * steps).round()
    wanted = [spearmanr(a.flatten(), b.flatten()).statistic
              for a, b in zip(maps, others, strict=True)]
    torch.testing.assert_close(rank_correlation(maps, others),
                               torch.tensor(wanted, dtype=torch.float64))


def test_only_the_order_matters():
    maps = torch.rand(4, 5, 7, generator=torch.Generator().manual_seed(1))
    assert rank_correlation(maps, maps.exp()).tolist() == pytest.approx([1] * 4)
    assert rank_correlation(maps, -maps).tolist() == pytest.approx([-1] * 4)


def test_constant_map_has_no_correlation():
    maps = torch.rand(2, 5, 7, generator=torch.Generator().manual_seed(1))
    flat = maps.clone()
    flat[1] = 0
    assert rank_correlation(maps, flat).isnan().tolist() == [False, True]
