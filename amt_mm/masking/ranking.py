"""Rank the tokens of each image, at random or by weight."""

from __future__ import annotations

import torch
from torch import Tensor

# Smallest weight, as a share of the image's largest. Tokens of weight 0 would never be drawn, only
# appended in a fixed order; with 1e-6 they still come last, but in random order.
WEIGHT_FLOOR = 1e-6
# Range of constant weights, as a share of the largest. Within a plateau of a map, weights vary by
# rounding: by about 1e-6 in usual crops, 5e-5 in those of a thirtieth of the side. Values of map
# files differ by 5e-4, if at all.
_ROUNDING = 1e-4


def usable_rows(weights: Tensor) -> Tensor:
    """Tell which samples have weights that can guide: finite, not negative and not constant.

    Weights that differ by rounding only are constant.

    Args:
        weights: ``(B, N)``.

    Returns:
        ``(B,)`` bool.
    """
    low, high = weights.aminmax(dim=1)
    # NaN compares false; an infinity is the largest or the smallest of its row.
    return (low >= 0) & (high - low > _ROUNDING * high) & high.isfinite()


def rank_uniform(batch_size: int, num_tokens: int, device: torch.device | str = 'cpu',
                 generator: torch.Generator | None = None) -> Tensor:
    """Draw a uniformly random permutation for each sample, ``(B, N)`` int64."""
    return torch.rand(batch_size, num_tokens, device=device, generator=generator).argsort(dim=1)


def shuffle_tokens(tokens: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Permute the tokens of each sample uniformly at random, ``(B, n)``."""
    return tokens.gather(1, rank_uniform(*tokens.shape, tokens.device, generator))


def rank_by_sampling(weights: Tensor, generator: torch.Generator | None = None,
                     floor: float = WEIGHT_FLOOR) -> Tensor:
    """Draw all tokens successively without replacement, by weight (AMT, eq. 5).

    The ranking follows the Plackett-Luce distribution: the next token is the j-th of the remaining
    ones with probability ``w_j / sum of the remaining weights``. Exponential variables of rate
    ``w_j`` have this order, so a single sort draws all. Samples whose weights are unusable (see
    :func:`usable_rows`) are ranked uniformly at random.

    Args:
        weights: Non-negative numbers, ``(B, N)``; only their ratios matter.
        generator: Random generator. Defaults to the device's default one.
        floor: Smallest weight, as a share of the sample's largest.

    Returns:
        ``(B, N)`` int64, first drawn first.
    """
    weights = weights.float()
    usable = usable_rows(weights).unsqueeze(1)
    weights = torch.where(usable, weights, torch.ones_like(weights))
    weights = weights / weights.amax(dim=1, keepdim=True)
    clocks = torch.empty_like(weights).exponential_(generator=generator)
    return (clocks / weights.clamp_min(floor)).argsort(dim=1)


def rank_by_weight(weights: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Sort tokens by descending weight, equal ones in random order.

    Args:
        weights: ``(B, N)``. Samples whose weights are unusable (see :func:`usable_rows`) are ranked
            uniformly at random.
        generator: Random generator. Defaults to the device's default one.

    Returns:
        ``(B, N)`` int64.
    """
    order = rank_uniform(*weights.shape, weights.device, generator)
    usable = usable_rows(weights).unsqueeze(1)
    shuffled = torch.where(usable, weights.float(), 0).gather(1, order)
    return order.gather(1, shuffled.argsort(dim=1, descending=True, stable=True))
