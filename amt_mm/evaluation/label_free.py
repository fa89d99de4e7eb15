"""Measures of features that need no labels: RankMe, alignment, uniformity."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from .checks import check_features

# Of the paper; keeps the logarithm of a singular value of 0 finite.
_EPSILON = 1e-7
_ROWS = 2**12


def rankme(features: Tensor) -> float:
    """Return the effective rank, from about 1 to min(n, D); more is better for linear probes.

    ``exp(-sum_k p_k log p_k)`` with ``p_k = sigma_k / sum_j sigma_j + 1e-7``, ``sigma`` the
    singular values of the features as they are, neither centred nor normalised (Garrido et al.,
    "RankMe", ICML 2023). Compare encoders of one width on the same number of images.

    Args:
        features: ``(n, D)``.

    Raises:
        InputError: A feature is not finite, or all are 0.
    """
    check_features('features', features)
    values = torch.linalg.svdvals(features.double())  # (min(n, D),)
    if not values.sum() > 0:
        raise InputError('features are all 0, so they have no rank')
    shares = values / values.sum() + _EPSILON
    return float((-shares * shares.log()).sum().exp())


def alignment(first: Tensor, second: Tensor) -> float:
    """Return the mean squared distance between the features of two views, 0 to 4; less is better.

    ``E |f(x) - f(y)|^2`` over pairs of views, f normalised (Wang and Isola, ICML 2020, section
    4.1, with alpha = 2).

    Args:
        first: ``(n, D)``, a view of each image.
        second: ``(n, D)``, another view of each.
    """
    check_features('first', first)
    check_features('second', second, first.shape[1])
    difference = F.normalize(first.double(), dim=1) - F.normalize(second.double(), dim=1)
    return float(difference.square().sum(dim=1).mean())


def uniformity(features: Tensor) -> float:
    """Return how evenly features cover the sphere, -4 or more up to 0; less is better.

    ``log E exp(-2 |f(x) - f(y)|^2)`` over pairs of different images, f normalised (Wang and Isola,
    ICML 2020, section 4.1, with t = 2).

    Args:
        features: ``(n, D)``, two images or more.

    Raises:
        InputError: There is only one image, or a feature is not finite.
    """
    check_features('features', features)
    if len(features) < 2:
        raise InputError('uniformity compares images: give two or more')
    unit = F.normalize(features.double(), dim=1)
    total, count = unit.new_zeros(()), len(unit)
    for rows in unit.split(_ROWS):
        # |x - y|^2 = 2 - 2 x.y
        total += (4 * (rows @ unit.T) - 4).exp().sum()
    # Each image with itself counts 1.
    return float(((total - count) / (count * (count - 1))).log())
