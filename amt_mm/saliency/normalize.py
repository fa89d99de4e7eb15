"""Scale of maps and their entropy."""

from __future__ import annotations

import torch
from torch import Tensor


def min_max(maps: Tensor) -> Tensor:
    """Scale each map to [0, 1] by its own smallest and largest value.

    Args:
        maps: ``(..., N)``.

    Returns:
        ``(..., N)``. A map that is constant or not finite becomes all zeros, which means "no
        preference" and cannot be confused with another map, whose largest value is 1.
    """
    low, high = maps.amin(dim=-1, keepdim=True), maps.amax(dim=-1, keepdim=True)
    span = high - low  # NaN or inf as soon as one value is
    usable = (span > 0) & span.isfinite()
    scaled = (maps - low) / torch.where(usable, span, torch.ones_like(span))
    return torch.where(usable, scaled, torch.zeros_like(scaled))


def entropy(maps: Tensor) -> Tensor:
    """Compute the entropy of maps as distributions, relative to that of the uniform one.

    Args:
        maps: Non-negative, ``(B, N)``.

    Returns:
        ``(B,)``: 1 for uniform attention, 0 if it is on one token. All-zero maps count as uniform.
    """
    total = maps.sum(dim=1, keepdim=True)
    share = torch.where(total > 0, maps / total.clamp_min(1e-12),
                        torch.full_like(maps, 1 / maps.shape[1]))
    nats = torch.special.entr(share).sum(dim=1)
    return nats / torch.log(torch.tensor(float(maps.shape[1])))
