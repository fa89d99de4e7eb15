"""Rank correlation of maps."""

from __future__ import annotations

from torch import Tensor

from amt_mm.masking.weighting import mean_ranks


def rank_correlation(maps: Tensor, others: Tensor) -> Tensor:
    """Compute Spearman's correlation of two maps of each image.

    It compares what masking uses of a map, its ranking. Ties share their mean rank.

    Args:
        maps: ``(B, h, w)`` or ``(B, N)``.
        others: As many maps of as many cells.

    Returns:
        ``(B,)`` fp64 from -1 to 1; NaN where one of the maps is constant.
    """
    ranks = [mean_ranks(each.flatten(1)).double() for each in (maps, others)]
    first, second = (each - each.mean(dim=1, keepdim=True) for each in ranks)
    scale = (first.square().sum(1) * second.square().sum(1)).sqrt()
    return (first * second).sum(1) / scale
