"""The share of right answers."""

from __future__ import annotations

from torch import Tensor

from ..errors import InputError


def accuracy(predictions: Tensor, labels: Tensor) -> float:
    """Return the percentage of predictions that equal their labels.

    Args:
        predictions: (n,) integer classes.
        labels: (n,) integer classes, on any device.

    Returns:
        A number from 0 to 100.

    Raises:
        InputError: If the shapes differ or there is nothing to count.
    """
    if predictions.shape != labels.shape or predictions.ndim != 1 or len(labels) == 0:
        raise InputError(
            f'{tuple(predictions.shape)} predictions cannot be compared with '
            f'{tuple(labels.shape)} labels; give one of each per image, at least one image'
        )
    right = (predictions == labels.to(predictions.device)).sum().item()
    return 100 * right / len(labels)
