"""Patch features as colours, after the figures of DINOv2."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError

# Colours span this range of each component, so that a few outlying patches do not make the others
# alike.
_QUANTILES = (0.01, 0.99)
_COUNT = 3


def principal_components(features: Tensor) -> tuple[Tensor, float]:
    """Project features on their first three principal components, for red, green and blue.

    Args:
        features: ``(n, D)``, at least three of both.

    Returns:
        Scores ``(n, 3)`` float64, of decreasing variance, each signed so that the largest
        weight of its direction is positive; and their share of the variance.

    Raises:
        InputError: Too few patches or dimensions, or a feature is not finite.
    """
    if features.ndim != 2 or min(features.shape) < _COUNT or not features.isfinite().all():
        raise InputError(f'features of shape {tuple(features.shape)} have no {_COUNT} principal '
                         'components: they must be finite and at least as many')
    centred = features.double() - features.double().mean(dim=0)
    variances, directions = torch.linalg.eigh(centred.T @ centred)  # ascending
    directions = directions.flip(1)[:, :_COUNT]  # (D, 3)
    largest = directions.gather(0, directions.abs().argmax(dim=0, keepdim=True))
    total = variances.sum()
    share = float(variances[-_COUNT:].sum() / total) if total > 0 else 0.
    return centred @ (directions * largest.sign()), share


def component_colours(features: Tensor) -> tuple[np.ndarray, float]:
    """Colour patches by the first three principal components of their features.

    The components are common to all images, so that a colour means the same in each.

    Args:
        features: ``(B, N, D)``.

    Returns:
        ``(B, N, 3)`` uint8 RGB, and the share of the variance that the components hold.

    Raises:
        InputError: See :func:`principal_components`.
    """
    scores, share = principal_components(features.flatten(0, 1).cpu())
    low, high = np.quantile(scores.numpy(), _QUANTILES, axis=0)
    scaled = (scores.numpy() - low) / np.where(high > low, high - low, 1)
    colours = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return colours.reshape(*features.shape[:2], 3), share
