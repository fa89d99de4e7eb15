"""The masks of an annotation file: what cannot be a mask, and which ones are empty."""

from __future__ import annotations

from array import array
from itertools import chain

import numpy as np
from pycocotools import mask as rle

from .annotation_faults import Findings, shown
from .annotation_table import LARGEST_ID, Table
from .run_lengths import count_pixels

_SHORTEST = 6  # numbers of a polygon of three points
_DROPPED = 'polygon of fewer than three points, or an odd count of numbers, left out'


def find_empty_masks(table: Table, rows: np.ndarray, sizes: np.ndarray, findings: Findings
                     ) -> set[int]:
    """Check the masks of objects and find those without a pixel.

    Args:
        table: The objects.
        rows: Positions of n sound objects, ``(n,)``.
        sizes: Width and height of their images, ``(n, 2)``.
        findings: Receives changes.

    Returns:
        Positions of objects whose mask is empty. If no polygon of a mask has three points, the
        mask is ``[]`` afterwards.
    """
    masks = _masks(table, rows)
    is_list = np.array([type(mask) is list for mask in masks], bool)
    empty = _empty_polygons(table, rows[is_list], sizes[is_list], findings)
    encoded = [number for number in np.flatnonzero(~is_list).tolist()
               if _fits(table, int(rows[number]), masks[number], sizes[number])]
    return empty | _empty_encodings(table, rows[encoded], sizes[encoded])


def _masks(table: Table, rows: np.ndarray) -> list:
    column = table.column('segmentation')
    return [column[row] for row in rows.tolist()]


def _fits(table: Table, row: int, mask: object, size: np.ndarray) -> bool:
    """Whether a mask that is not a list is a run-length encoding of the image's size."""
    if type(mask) is not dict:
        table.fault(row, f'`segmentation` {shown(mask)} is neither a list of polygons nor a '
                         'run-length encoding with `size` and `counts`')
        return False
    image, given = size[::-1].astype(int).tolist(), mask.get('size')
    if type(given) is not list or set(map(type, given)) != {int} or len(given) != 2:
        table.fault(row, f'`segmentation.size` {shown(given)} is not [height, width]')
    elif given != image:
        table.fault(row, f'`segmentation.size` {shown(given)} is not that of the image, {image} '
                         '(height, width)')
    elif type(mask.get('counts')) not in (list, str):
        table.fault(row, f'`segmentation.counts` {shown(mask.get("counts"))} is neither a list '
                         'nor text')
    else:
        return True
    return False


def _empty_encodings(table: Table, rows: np.ndarray, sizes: np.ndarray) -> set[int]:
    """Check run lengths; rows of empty masks."""
    counts = [mask['counts'] for mask in _masks(table, rows)]
    totals, inside = np.full((2, len(rows)), -1)
    is_text = np.array([type(runs) is str for runs in counts], bool)
    if is_text.any():
        totals[is_text], inside[is_text] = count_pixels(
            [runs for runs in counts if type(runs) is str])
    for number in np.flatnonzero(~is_text).tolist():
        runs = counts[number]
        if set(map(type, runs)) <= {int} and min(runs, default=0) >= 0 and sum(runs) < LARGEST_ID:
            totals[number], inside[number] = sum(runs), sum(runs[1::2])
    pixels = sizes.prod(1)
    for number in np.flatnonzero(totals != pixels).tolist():
        what = 'is not a run-length encoding' if totals[number] < 0 else f'sums to {totals[number]}'
        table.fault(int(rows[number]), f'`segmentation.counts` {shown(counts[number])} {what}, '
                                       f'the image has {pixels[number]:g} pixels')
    return set(rows[inside == 0].tolist())


def _empty_polygons(table: Table, rows: np.ndarray, sizes: np.ndarray, findings: Findings
                    ) -> set[int]:
    """Check polygons; rows of empty masks."""
    masks = _masks(table, rows)
    polygons = list(chain.from_iterable(masks))
    points = _read_points(polygons)
    if points is None:
        sound = [_keep_usable(table, row, findings) for row in rows.tolist()]
        rows, sizes = rows[sound], sizes[sound]
        masks = _masks(table, rows)
        polygons = list(chain.from_iterable(masks))
        points = _read_points(polygons)
    if not polygons:
        return set(rows.tolist())
    parts = np.fromiter(map(len, masks), int)
    owner = np.repeat(np.arange(len(masks)), parts)
    lengths = np.fromiter(map(len, polygons), int)
    starts = (np.cumsum(lengths) - lengths) // 2
    near = np.zeros(len(polygons), bool)
    # Still without points are numbers that overflow.
    if points is not None:
        low, high = (extreme.reduceat(points, starts) for extreme in (np.minimum, np.maximum))
        # Negated so that NaN is far, too.
        near = ((low >= -sizes[owner]) & (high <= 2 * sizes[owner])).all(1)
    if not near.all():
        sound = [_is_near(table, row, size) for row, size in zip(rows.tolist(), sizes, strict=True)]
        return _empty_polygons(table, rows[sound], sizes[sound], findings)
    # A polygon that is a pixel wide on average has pixels; few are thinner.
    thick = np.abs(_signed_area(points, starts)) > (high - low).sum(1)
    thin = np.bincount(owner, thick, len(masks)) == 0
    empty = set(rows[parts == 0].tolist())
    for number in np.flatnonzero(thin & (parts > 0)).tolist():
        width, height = sizes[number].astype(int).tolist()
        # A figure of eight has a signed area of 0 and still has pixels.
        if not rle.area(rle.merge(rle.frPyObjects(masks[number], height, width))):
            empty.add(int(rows[number]))
    return empty


def _read_points(polygons: list) -> np.ndarray | None:
    """Points of all polygons, ``(m, 2)``.

    None if something is not an even list of numbers that fit a float, of three points at least.
    """
    numbers = array('d')
    try:
        for polygon in polygons:
            # The fastest look at all numbers. It refuses everything but lists of them; true counts
            # as 1, as everywhere in Python.
            numbers.fromlist(polygon)
    except (TypeError, OverflowError):
        return None
    if any(length < _SHORTEST or length % 2 for length in set(map(len, polygons))):
        return None
    return np.frombuffer(numbers).reshape(-1, 2)


def _keep_usable(table: Table, row: int, findings: Findings) -> bool:
    """Drop polygons that enclose nothing; False if something is not a polygon."""
    entry = table.entries[row]
    for part in entry['segmentation']:
        if type(part) is not list or not set(map(type, part)) <= {int, float, bool}:
            table.fault(row, f'`segmentation` has {shown(part)}, which is not a polygon [x1, y1, '
                             'x2, y2, ...]')
            return False
    usable = [part for part in entry['segmentation']
              if len(part) >= _SHORTEST and len(part) % 2 == 0]
    if usable and len(usable) < len(entry['segmentation']):
        findings.repaired(_DROPPED, entry['id'])
    table.set(row, 'segmentation', usable)
    return True


def _is_near(table: Table, row: int, size: np.ndarray) -> bool:
    """Whether all points of a mask are finite and within one side of the image around it."""
    numbers = list(chain.from_iterable(table.entries[row]['segmentation']))
    wrong = [number for axis, side in enumerate(size.astype(int).tolist())
             for number in numbers[axis::2] if not -side <= number <= 2 * side]
    if wrong:
        table.fault(row, f'`segmentation` has {shown(wrong[0])}: not finite, or more than a whole '
                         'image outside of {:g} x {:g} pixels'.format(*size))
    return not wrong


def _signed_area(points: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Areas of polygons by the shoelace formula.

    Args:
        points: Of all polygons, ``(m, 2)``.
        starts: Of each polygon, ``(k,)``.

    Returns:
        In pixels, ``(k,)``.
    """
    following = np.roll(points, -1, axis=0)
    following[np.append(starts[1:], len(points)) - 1] = points[starts]
    cross = points[:, 0] * following[:, 1] - points[:, 1] * following[:, 0]
    return np.add.reduceat(cross, starts) / 2
