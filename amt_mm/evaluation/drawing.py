"""Draw labelled images: so many of each class, or so many in all, evenly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError


def number_in_class(labels: Tensor) -> Tensor:
    """Count each image within its class, from 0, in the order given.

    Args:
        labels: (n,) integer classes.

    Returns:
        (n,) numbers, int64.
    """
    order = labels.argsort(stable=True)
    ordered = labels[order]
    first = torch.searchsorted(ordered, ordered)  # where its class begins
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order)) - first
    return place


def draw_of_each_class(
    labels: Tensor, shots: int, seed: Sequence[int], names: Sequence[str] | None = None
) -> Tensor:
    """Draw ``shots`` images of each class without replacement.

    Of one seed, a draw of fewer shots is part of a draw of more.

    Args:
        labels: (n,) integer classes from 0.
        shots: Images a class.
        seed: Integers that the draw follows from, with the labels and nothing else.
        names: Names of all classes, for the message. Default: their numbers, up
            to the highest label.

    Returns:
        (shots * classes,) indices, ascending.

    Raises:
        InputError: If a class has fewer images.
    """
    check_enough(labels, shots, names)
    order = _permutation(len(labels), seed)
    return order[number_in_class(labels[order]) < shots].sort().values


def check_enough(labels: Tensor, shots: int, names: Sequence[str] | None = None) -> None:
    """Raise InputError, naming the class, unless each class has ``shots`` images.

    Args:
        labels: (n,) integer classes from 0.
        shots: Images a class.
        names: As in :func:`draw_of_each_class`.
    """
    count = int(labels.max()) + 1 if names is None else len(names)
    sizes = torch.bincount(labels, minlength=count)
    if int(sizes.min()) < shots:
        few = int((sizes < shots).nonzero()[0])
        name = few if names is None else f'{few} ({names[few]})'
        raise InputError(
            f'{shots} images a class are to be drawn, class {name} has {int(sizes[few])}; '
            'ask for fewer shots'
        )


def draw_evenly(labels: Tensor, count: int, seed: Sequence[int]) -> Tensor:
    """Draw ``count`` images without replacement, as equally over classes as they allow.

    Two classes differ by at most one image, unless one has no more to give.

    Args:
        labels: (n,) integer classes.
        count: Images in all; all there are, if that is fewer.
        seed: As in :func:`draw_of_each_class`.

    Returns:
        Indices, ascending.
    """
    order = _permutation(len(labels), seed)
    # One of each class, then the second of each, ... in each round classes by chance.
    rounds = number_in_class(labels[order]).argsort(stable=True)
    return order[rounds[:count]].sort().values


def _permutation(count: int, seed: Sequence[int]) -> Tensor:
    return torch.from_numpy(np.random.default_rng(list(seed)).permutation(count))
