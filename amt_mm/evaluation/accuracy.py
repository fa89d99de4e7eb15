"""Top-1 accuracy."""

from __future__ import annotations

from torch import Tensor

from ..errors import InputError


def accuracy(predictions: Tensor, labels: Tensor) -> float:
    """Return the percentage of predictions that equal their labels, 0 to 100.

    Args:
        predictions: ``(n,)`` integer classes.
        labels: ``(n,)`` integer classes, on any device.

    Raises:
        InputError: The shapes differ, or there is no prediction.
    """
    if predictions.shape != labels.shape or predictions.ndim != 1 or len(labels) == 0:
        raise InputError(
            f'{tuple(predictions.shape)} predictions cannot be compared with '
            f'{tuple(labels.shape)} labels; give one of each per image, at least one image')
    return 100 * (predictions == labels.to(predictions.device)).sum().item() / len(labels)
