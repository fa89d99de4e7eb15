"""Section: which classes are most often taken for which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .html_table import SWIPE, html_table

_PLACES = ('most often', 'second', 'third')


@dataclass(frozen=True)
class Answers:
    """What a classifier answered.

    Attributes:
        predictions: ``(n,)`` classes.
        labels: ``(n,)``, the true ones.
        names: Of the classes; None for their numbers.
    """

    predictions: Tensor
    labels: Tensor
    names: Sequence[str] | None


def confused_pairs(answers: Answers, most: int = len(_PLACES)) -> list[tuple[str, str, int, int]]:
    """Return the most frequent errors: true class, answer, number of images, size of the class.

    Args:
        answers: Of a classifier.
        most: Number of pairs. Defaults to 3. Errors that never occur are not among them.
    """
    wrong = answers.predictions != answers.labels
    pairs = torch.stack([answers.labels, answers.predictions], dim=1)[wrong]  # (e, 2)
    found, counts = pairs.unique(dim=0, return_counts=True)
    sizes = answers.labels.bincount()
    # Ties by class, on every device.
    order = counts.argsort(descending=True, stable=True)[:most].tolist()

    def name(label: int) -> str:
        return str(label) if answers.names is None else answers.names[label]

    return [(name(true), name(taken), int(counts[place]), int(sizes[true]))
            for place in order for true, taken in [found[place].tolist()]]


def confusions_section(classifiers: Mapping[str, Answers]) -> str:
    """Return the section as HTML.

    Args:
        classifiers: Name of encoder and classifier -> its answers to the test images.
    """
    rows = [{'name': name, **{str(place): f'{true} as {taken}, {count} of {size}'
                              for place, (true, taken, count, size) in enumerate(
                                  confused_pairs(answers))}}
            for name, answers in classifiers.items()]
    columns = {'name': 'classifier',
               **{str(place): heading for place, heading in enumerate(_PLACES)}}
    return ('<section class="words"><h2>Most confused classes</h2><p class="text">Test images of '
            'one class that were taken for another, and how many of that class they are.</p>'
            f'{html_table(rows, columns)}{SWIPE}</section>')
