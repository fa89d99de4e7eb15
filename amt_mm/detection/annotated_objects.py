"""The objects of an annotation file: boxes, areas and masks against the size of their image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from math import isfinite

import numpy as np

from .annotated_masks import find_empty_masks
from .annotation_faults import Findings, shown
from .annotation_table import LARGEST_ID, Table


def find_flaws(table: Table, sizes: Mapping[int, tuple[int, int]], findings: Findings
               ) -> dict[int, str]:
    """Check geometry and find the objects that are unusable for training.

    Usable are boxes that reach over the edge of the image, and crowds. Coordinates more than a
    whole image outside are faults: they belong to another image or unit, and pycocotools takes
    memory in proportion to them.

    Args:
        table: The objects; faults are noted there.
        sizes: Image id -> width and height in pixels.
        findings: Receives changes.

    Returns:
        Object id -> why it is unusable.
    """
    rows = _rows_with_numbers(table, sizes)
    if not len(rows):
        return {}
    boxes = np.fromiter(chain.from_iterable(table.at('bbox', rows)), float).reshape(-1, 4)
    size = np.fromiter(chain.from_iterable(map(sizes.__getitem__, table.at('image_id', rows))),
                       float).reshape(-1, 2)
    start, end = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    reasons = (  # in the order in which they count
        (np.array([bool(value) for value in table.at('ignore', rows)]), 'marked as ignored'),
        ((boxes[:, 2:] < 1).any(1), 'box thinner than one pixel'),
        ((np.minimum(end, size) <= np.maximum(start, 0)).any(1), 'box outside the image'),
        (np.fromiter(table.at('area', rows), float) == 0, 'empty mask'))

    far = ((start < -size) | (start > 2 * size) | (end < -size) | (end > 2 * size)).any(1)
    for k in np.flatnonzero(far).tolist():
        table.fault(rows[k], f'`bbox` {shown(table.entries[rows[k]]["bbox"])} reaches more than a '
                             'whole image outside of {:g} x {:g} pixels'.format(*size[k]))
    empty = find_empty_masks(table, np.array(rows)[~far], size[~far], findings)
    ids = table.column('id')
    flaws = {ids[row]: 'empty mask' for row in empty}
    for which, reason in reversed(reasons):
        flaws.update((ids[rows[k]], reason) for k in np.flatnonzero(which).tolist())
    return flaws


def _rows_with_numbers(table: Table, sizes: Mapping[int, tuple[int, int]]) -> Sequence[int]:
    """Positions of sound objects with an area and a box, in images of known size."""
    areas, boxes = table.column('area'), table.column('bbox')
    if not _are_numbers(areas) or min(areas, default=0) < 0:
        for row in table.rows():
            if not _are_numbers(areas[row:row + 1]) or areas[row] < 0:
                table.fault(row, f'`area` {shown(areas[row])} is not a number of pixels')
    if not (set(map(type, boxes)) <= {list} and set(map(len, boxes)) <= {4}
            and _are_numbers(list(chain.from_iterable(boxes)))):
        for row in table.rows():
            box = boxes[row]
            if type(box) is not list or len(box) != 4 or not _are_numbers(box):
                table.fault(row, f'`bbox` {shown(box)} is not [x, y, width, height] in pixels')
    rows, image_ids = table.rows(), table.column('image_id')
    if set(table.at('image_id', rows)) <= sizes.keys():
        return rows
    return [row for row in rows if image_ids[row] in sizes]


def _are_numbers(values: list) -> bool:
    """Whether all are finite numbers that an array can hold exactly."""
    # The sum finds NaN and infinity, which comparisons may miss.
    return not values or (
        set(map(type, values)) <= {int, float} and min(values) > -LARGEST_ID
        and max(values) < LARGEST_ID and isfinite(sum(values)))
