"""Rank correlation of maps."""

from __future__ import annotations

import torch
from torch import Tensor


def rank_correlation(maps: Tensor, others: Tensor) -> Tensor:
    """Compute Spearman's correlation of two maps of each image.

    It compares what masking uses of a map, its ranking. Ties share their mean rank.

    Args:
        maps: ``(B, h, w)`` or ``(B, N)``.
        others: As many maps of as many cells.

    Returns:
        ``(B,)`` fp64 from -1 to 1; NaN where one of the maps is constant.
    """
    first, second = (_ranks(each.flatten(1)) for each in (maps, others))
    scale = (first.square().sum(1) * second.square().sum(1)).sqrt()
    return (first * second).sum(1) / scale


def _ranks(maps: Tensor) -> Tensor:
    """Centred ranks, ``(B, N)`` fp64."""
    ordered = maps.sort(dim=1).values
    below = torch.searchsorted(ordered, maps)
    up_to = torch.searchsorted(ordered, maps, right=True)
    return (below + up_to).double() / 2 - maps.shape[1] / 2
