"""k-means clustering of features."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError
from .checks import check_features

_ROWS = 2**14
# Most of Lloyd's iterations per start, as in scikit-learn.
_ITERATIONS = 300


def kmeans(features: Tensor, count: int, restarts: int = 10, seed: int = 0) -> Tensor:
    """Cluster by k-means, the best of several starts.

    Args:
        features: ``(n, D)``, on any device.
        count: Number of clusters.
        restarts: Starts from different centres (k-means++), of which the one with the smallest sum
            of squared distances is kept. Defaults to 10.
        seed: Determines the starts.

    Returns:
        Centres ``(count, D)``, float64.

    Raises:
        InputError: There are fewer images than clusters, or a feature is not finite.
    """
    check_features('features', features)
    if not 1 <= count <= len(features):
        raise InputError(f'{len(features)} images cannot make {count} clusters')
    features = features.double()
    generator = torch.Generator().manual_seed(seed)
    runs = [lloyd(features, _spread(features, count, generator), _ITERATIONS)
            for _ in range(restarts)]
    return min(runs, key=lambda run: run[1])[0]


def lloyd(features: Tensor, centres: Tensor, iterations: int) -> tuple[Tensor, float]:
    """Move centres to the mean of their images until no image changes its cluster.

    Args:
        features: ``(n, D)``.
        centres: ``(k, D)``. One that loses all its images stays where it is.
        iterations: Maximum number of moves.

    Returns:
        Centres ``(k, D)`` and the sum of squared distances to the nearest.
    """
    cluster = None
    for _ in range(iterations):
        before, (cluster, _) = cluster, nearest(features, centres)
        if before is not None and torch.equal(before, cluster):
            break
        sizes = torch.bincount(cluster, minlength=len(centres))[:, None]
        sums = torch.zeros_like(centres).index_add_(0, cluster, features)
        centres = torch.where(sizes > 0, sums / sizes.clamp(min=1), centres)
    return centres, float(nearest(features, centres)[1].sum())


def nearest(features: Tensor, centres: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each image the nearest centre ``(n,)`` and its squared distance ``(n,)``."""
    parts = [torch.cdist(rows, centres).min(dim=1) for rows in features.split(_ROWS)]
    return (torch.cat([part.indices for part in parts]),
            torch.cat([part.values for part in parts]).square())


def _spread(features: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Draw images as centres, with the squared distance to those before as their weight.

    k-means++ (Arthur and Vassilvitskii, 2007).
    """
    chosen = [int(torch.randint(len(features), (), generator=generator))]
    squares = nearest(features, features[chosen])[1]
    while len(chosen) < count:
        # Copies of one image have no distance left.
        weights = squares.cpu() if squares.sum() > 0 else torch.ones(len(features))
        chosen.append(int(torch.multinomial(weights, 1, generator=generator)))
        squares = torch.minimum(squares, nearest(features, features[chosen[-1:]])[1])
    return features[chosen]
