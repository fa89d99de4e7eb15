"""Checks of features and labels, shared by the classifiers on frozen features."""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import InputError


def check_features(name: str, features: Tensor, width: int | None = None) -> None:
    """Raise InputError unless ``features`` are finite and ``(n, D)`` with n, D >= 1.

    Args:
        name: Their name in the message.
        features: The features.
        width: Required D. Defaults to None: any.
    """
    if features.ndim != 2 or features.numel() == 0 or not features.is_floating_point():
        raise InputError(
            f'{name} have shape {tuple(features.shape)} and type {features.dtype}; '
            'they must be (images, width) of a floating type, at least one image')
    if width is not None and features.shape[1] != width:
        raise InputError(f'{name} are {features.shape[1]} wide, the training features {width}; '
                         'take both from one model')
    # In chunks: a mask of a million features would double the memory.
    finite = torch.cat([torch.isfinite(part).all(dim=1) for part in features.split(2**14)])
    if not finite.all():
        first = int((~finite).nonzero()[0])
        raise InputError(f'{name}: image {first} has a feature that is not finite '
                         f'({int((~finite).sum())} of {len(features)} images); has the training '
                         'diverged?')


def count_classes(*labels: Tensor) -> int:
    """Return the number of classes in parts with labels ``(n,)`` from 0, even if one lacks some."""
    return max(int(part.max()) for part in labels) + 1


def check_labels(name: str, labels: Tensor, count: int, num_classes: int | None = None) -> int:
    """Raise InputError unless ``labels`` are ``count`` class indices from 0.

    Args:
        name: Their name in the message.
        labels: ``(n,)`` integers.
        count: Required n.
        num_classes: Exclusive upper bound. Defaults to the highest label plus one.

    Returns:
        The number of classes.
    """
    if labels.shape != (count,) or labels.is_floating_point() or labels.dtype == torch.bool:
        raise InputError(f'{name} have shape {tuple(labels.shape)} and type {labels.dtype}; '
                         f'they must be {count} integers, one per image')
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or (num_classes is not None and high >= num_classes):
        limit = 'up' if num_classes is None else str(num_classes - 1)
        raise InputError(f'{name} range from {low} to {high}; classes count from 0 to {limit}')
    return high + 1 if num_classes is None else num_classes
