"""Draw random subsets of labelled images: per class, or balanced over classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..errors import InputError


def number_in_class(labels: Tensor) -> Tensor:
    """Number the images of each class from 0, in the given order.

    Args:
        labels: ``(n,)`` integer classes.

    Returns:
        ``(n,)`` int64.
    """
    order = labels.argsort(stable=True)
    ordered = labels[order]
    first = torch.searchsorted(ordered, ordered)  # start of the class
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order)) - first
    return place


def number_of_file(labels: Tensor, files: Tensor | None) -> Tensor:
    """Number the files of each class from 0, in the given order.

    Frames of one file show nearly the same, so they belong on the same side of a split.

    Args:
        labels: ``(n,)`` integer classes.
        files: ``(n,)``, the file of each image by any number; None if each has its own.

    Returns:
        ``(n,)`` int64, the same for all frames of a file.
    """
    if files is None:
        return number_in_class(labels)
    pairs, own = torch.stack([labels, files], dim=1).unique(dim=0, return_inverse=True)
    first = torch.full((len(pairs), ), len(labels)).scatter_reduce(
        0, own, torch.arange(len(labels)), 'amin')
    order = first.argsort()  # files by their first image
    numbers = torch.empty_like(order)
    numbers[order] = number_in_class(pairs[order, 0])
    return numbers[own]


def held_out(labels: Tensor, files: Tensor | None = None) -> Tensor:
    """Mark every fifth image, or file, of each class, to select settings by; the others fit.

    The arguments are those of :func:`number_of_file`.

    Returns:
        ``(n,)`` bool; all False if no class has five images, or files.
    """
    return number_of_file(labels, files) % 5 == 4


def check_held_out(labels: Tensor, files: Tensor | None, what: str) -> None:
    """Raise InputError if :func:`held_out` leaves no image to select ``what`` by."""
    if not held_out(labels, files).any():
        raise InputError(f'every fifth training image of a class selects {what}, and no class has '
                         f'five{"" if files is None else " files"}: use --protocols lowshot for so '
                         'few')


def draw_of_each_class(labels: Tensor, shots: int, seed: Sequence[int],
                       names: Sequence[str] | None = None) -> Tensor:
    """Draw ``shots`` images of each class without replacement.

    With the same seed, a draw of fewer shots is a subset of a draw of more.

    Args:
        labels: ``(n,)`` integer classes from 0.
        shots: Images per class.
        seed: Integers; together with the labels they determine the draw.
        names: Names of all classes, for the message. Defaults to their numbers, up to the highest
            label.

    Returns:
        ``(shots * classes,)`` indices, ascending.

    Raises:
        InputError: A class has fewer images.
    """
    check_enough(labels, shots, names)
    order = _permutation(len(labels), seed)
    return order[number_in_class(labels[order]) < shots].sort().values


def check_enough(labels: Tensor, shots: int, names: Sequence[str] | None = None) -> None:
    """Raise InputError for a class with fewer than ``shots`` images.

    The arguments are those of :func:`draw_of_each_class`.
    """
    count = int(labels.max()) + 1 if names is None else len(names)
    sizes = torch.bincount(labels, minlength=count)
    if int(sizes.min()) < shots:
        few = int((sizes < shots).nonzero()[0])
        name = few if names is None else f'{few} ({names[few]})'
        raise InputError(f'{shots} images per class are needed, class {name} has '
                         f'{int(sizes[few])}; lower test_cfg.shots')


def draw_evenly(labels: Tensor, count: int, seed: Sequence[int]) -> Tensor:
    """Draw ``count`` images without replacement, balanced over classes.

    Two classes differ by at most one image, unless one is exhausted.

    Args:
        labels: ``(n,)`` integer classes.
        count: Number of images; with fewer images, all are drawn.
        seed: As in :func:`draw_of_each_class`.

    Returns:
        Indices, ascending.
    """
    order = _permutation(len(labels), seed)
    # One image of each class, then a second of each, and so on; classes in random order.
    rounds = number_in_class(labels[order]).argsort(stable=True)
    return order[rounds[:count]].sort().values


def _permutation(count: int, seed: Sequence[int]) -> Tensor:
    return torch.from_numpy(np.random.default_rng(list(seed)).permutation(count))
