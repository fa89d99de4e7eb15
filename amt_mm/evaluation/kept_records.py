"""What the records are that runs keep for the report: a folder of results may come from anybody."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from amt_mm.checkpoints.files import is_plain
from amt_mm.checkpoints.records import are_steps, is_text
from amt_mm.checks import is_number

# Images of a record, and neighbours of an image: a page shows far fewer.
_MOST_IMAGES = 100
# Classes without names, and the width of an encoder: tables of the one and of the square of the
# other are made.
_MOST_CLASSES, _MOST_WIDTH = 10**6, 4096


def is_record(name: str, record: object) -> bool:
    """Whether a record has all that the report reads, of sizes and values that fit each other.

    Args:
        name: Under which it was kept: its kind, and perhaps what it is of, after an underscore.
        record: What the file holds.
    """
    keys, fits = _KINDS[name.partition('_')[0]]
    return isinstance(record, Mapping) and record.keys() >= keys and fits(record)


def _are_predictions(record: Mapping) -> bool:
    predictions, labels, names = record['predictions'], record['labels'], record['names']
    if not (is_text(record['metric']) and _are_names(names) and all(
            _is_tensor(each, 1) and each.dtype == torch.int64 and len(each)
            for each in (predictions, labels)) and len(predictions) == len(labels)):
        return False
    classes = len(names) if names else _MOST_CLASSES
    return all(int(each.min()) >= 0 and int(each.max()) < classes
               for each in (predictions, labels))


def _is_sweep(record: Mapping) -> bool:
    rates, reached = record['lrs'], record['held_out']
    return (_are_numbers(rates) and min(rates) > 0 and _are_numbers(reached)
            and len(rates) == len(reached))


def _are_neighbours(record: Mapping) -> bool:
    rows, names, labels = record['rows'], record['names'], record['labels']
    lists = [record[name] for name in ('found', 'cosines', 'found_labels')]
    if not (_are_images(rows) and _are_names(names) and are_steps(labels)
            and _are_numbers(record['shares']) and all(isinstance(each, list) for each in lists)
            and {len(each) for each in (labels, record['shares'], *lists)} == {len(rows)}):
        return False
    return all(_are_images(found) and _are_numbers(cosines) and are_steps(kinds)
               and len(found) == len(cosines) == len(kinds)
               and (not names or max(kinds) < len(names))
               for found, cosines, kinds in zip(*lists, strict=True))


def _are_queries(record: Mapping) -> bool:
    return _are_of_patches(record, record['maps'], 2)


def _are_tokens(record: Mapping) -> bool:
    tokens = record['tokens']
    return _are_of_patches(record, tokens, 1) and tokens.shape[2] <= _MOST_WIDTH


def _are_of_patches(record: Mapping, values: object, axis: int) -> bool:
    """Whether values are of images, and those along an axis of their patches."""
    rows, grid = record['rows'], record['grid']
    return (_are_images(rows) and are_steps(grid) and len(grid) == 2 and _is_tensor(values, 3)
            and values.is_floating_point() and values.numel() > 0
            and len(values) == len(rows) and values.shape[axis] == math.prod(grid)
            and bool(values.isfinite().all()))


def _are_images(rows: object) -> bool:
    return are_steps(rows) and 0 < len(rows) <= _MOST_IMAGES


def _are_numbers(values: object) -> bool:
    """Whether these are numbers that a page can show, at least one."""
    return isinstance(values, list) and bool(values) and all(
        is_number(value) and -1e9 < value < 1e9 for value in values)


def _are_names(names: object) -> bool:
    return names is None or isinstance(names, list) and all(map(is_text, names))


def _is_tensor(value: object, axes: int) -> bool:
    return isinstance(value, Tensor) and value.ndim == axes and is_plain(value)


# What the report reads, and whether it fits.
_KINDS: dict[str, tuple[set[str], Callable[[Mapping], bool]]] = {
    'predictions': ({'metric', 'predictions', 'labels', 'names'}, _are_predictions),
    'sweep': ({'lrs', 'held_out'}, _is_sweep),
    'neighbours': ({'rows', 'found', 'cosines', 'labels', 'found_labels', 'shares', 'names'},
                   _are_neighbours),
    'queries': ({'rows', 'maps', 'grid'}, _are_queries),
    'tokens': ({'rows', 'tokens', 'grid'}, _are_tokens)}
