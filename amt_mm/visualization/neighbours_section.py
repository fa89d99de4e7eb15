"""Section: images and their nearest neighbours."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from amt_mm.evaluation.knn import nearest_others

from .page import Picture
from .sections import Row, Section

_TITLE = 'Nearest neighbours in the folder'


def neighbour_row(name: str, image: np.ndarray,
                  found: Sequence[tuple[np.ndarray, str | None, float]]) -> Row:
    """Return an image and its neighbours.

    Args:
        name: Of the image.
        image: (H, W, 3) uint8.
        found: Picture, class if it has one, and cosine of each neighbour, nearest first.
    """
    return Row(name, [Picture('image', image), *(
        Picture(f'{kind}, {cosine:.2f}' if kind else f'{cosine:.2f}', picture)
        for picture, kind, cosine in found)])


def neighbours_section(features: Tensor, rows: Sequence[int], names: Sequence[str],
                       picture: Callable[[int], np.ndarray], what: str,
                       labels: Tensor | None = None, classes: Sequence[str] = (), k: int = 5
                       ) -> Section:
    """Show the images with the most similar features.

    Args:
        features: Of all images, ``(n, D)``.
        rows: Indices of the images whose neighbours are shown.
        names: Of these.
        picture: From the index of an image to (H, W, 3) uint8.
        what: What the feature is, for people.
        labels: Class of each image, ``(n,)``; None if there are none.
        classes: Their names.
        k: Number of neighbours. Defaults to 5.

    Raises:
        InputError: A feature is not finite.
    """
    count = len(features)
    if count == 1:
        return Section('neighbours', _TITLE, ['There is only one image in the folder.'])
    found, cosines = nearest_others(features, rows, k)
    shown = [neighbour_row(name, picture(row), [
        (picture(other), None if labels is None else classes[labels[other]], cosine)
        for other, cosine in zip(others, alike, strict=True)])
        for row, name, others, alike in zip(rows, names, found.tolist(), cosines.tolist(),
                                            strict=True)]
    text = [f'For each image the {found.shape[1]} most similar ones of {count} by the cosine of '
            f'{what}, nearest first. Useful features put images side by side that you would call '
            'alike.']
    if labels is not None:
        queries = labels[list(rows)]
        hits = int((labels[found] == queries[:, None]).sum())
        chance = float(((labels[None] == queries[:, None]).sum(dim=1) - 1).sum()) / (count - 1)
        text.append(f'{hits} of the {found.numel()} neighbours have the class of their image; of '
                    f'as many drawn at random {chance * found.shape[1]:.1f} would.')
    return Section('neighbours', _TITLE, text, shown, columns=found.shape[1] + 1)
