"""Remove the part of maps that depends on the position alone."""

from __future__ import annotations

from torch import Tensor

from .normalize import min_max

# Added to the mean map, as a share of its own mean: without it, a position that is hardly ever
# attended would turn a little attention into the highest weight; with it, no gain exceeds ten times
# the average.
EPSILON = 0.1


def debias(maps: Tensor, mean_map: Tensor) -> Tensor:
    """Divide maps by the mean map of the data set and scale them to [0, 1] again.

    Args:
        maps: In [0, 1], ``(B, N)``.
        mean_map: Mean over the data set, ``(N,)``.

    Returns:
        ``(B, N)``; a map that is constant before or after is all zeros.
    """
    return min_max(maps / (mean_map + EPSILON * mean_map.mean()))
