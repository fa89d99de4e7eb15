"""Put the tokens of each image in an order, by chance and by weight."""

from __future__ import annotations

import torch
from torch import Tensor

# Weights below this share of the image's largest count as this share. A weight of
# exactly 0 would never be drawn by chance, only appended in a fixed order; at 1e-6
# such tokens still come last, in random order among themselves.
WEIGHT_FLOOR = 1e-6


def usable_rows(weights: Tensor) -> Tensor:
    """Which samples have weights that can guide.

    A row guides if it is finite, not negative and not the same everywhere.

    Args:
        weights: ``(B, N)``.

    Returns:
        ``(B,)`` bool.
    """
    low, high = weights.aminmax(dim=1)
    # NaN compares false; an infinity is the largest or the smallest of its row.
    return (low >= 0) & (high > low) & high.isfinite()


def rank_uniform(batch_size: int, num_tokens: int, device: torch.device | str = 'cpu',
                 generator: torch.Generator | None = None) -> Tensor:
    """A uniformly random permutation a sample.

    Returns:
        ``(B, N)`` int64.
    """
    return torch.rand(batch_size, num_tokens, device=device, generator=generator).argsort(dim=1)


def shuffled(tokens: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """The tokens of each sample in a uniformly random order, ``(B, n)``."""
    return tokens.gather(1, rank_uniform(*tokens.shape, tokens.device, generator))


def rank_by_sampling(weights: Tensor, generator: torch.Generator | None = None,
                     floor: float = WEIGHT_FLOOR) -> Tensor:
    """Draw all tokens one after another without replacement, by weight (AMT, eq. 5).

    The order has the Plackett-Luce law: the next token is the j-th of those left
    with probability ``w_j / sum of the weights left``. An exponential clock of
    rate ``w_j`` for each token rings in just that order, so one sort draws all.
    Samples whose weights cannot guide (see :func:`usable_rows`) are ordered
    uniformly.

    Args:
        weights: Any non-negative numbers, ``(B, N)``; only ratios matter.
        generator: Source of chance. Defaults to torch's own of the device.
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


def rank_by_score(scores: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Highest score first; samples whose scores cannot guide are ordered uniformly.

    Args:
        scores: ``(B, N)``; rows as in :func:`usable_rows`.
        generator: Source of chance. Defaults to torch's own of the device.

    Returns:
        ``(B, N)`` int64.
    """
    chance = torch.rand(scores.shape, device=scores.device, generator=generator)
    scores = torch.where(usable_rows(scores).unsqueeze(1), scores.float(), chance)
    return scores.argsort(dim=1, descending=True)
