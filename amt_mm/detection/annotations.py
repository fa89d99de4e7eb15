"""Annotation files in COCO and LVIS v1 format: every field is checked before anything uses it."""

from __future__ import annotations

import functools
import gc
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from mmengine.logging import print_log
from PIL import Image

from amt_mm.errors import InputError
from amt_mm.json_files import parse_json

from .annotated_objects import find_flaws
from .annotation_faults import Findings
from .annotation_table import LARGEST_ID, Table

COCO_SOURCE = 'annotations_trainval2017.zip and the images are at https://cocodataset.org/#download'
LVIS_SOURCE = ('lvis_v1_train.json.zip and lvis_v1_val.json.zip are at '
               'https://www.lvisdataset.org/dataset, the images are those of COCO 2017')

_SECTIONS = {'images': 'image', 'annotations': 'object', 'categories': 'category'}
_LVIS_FREQUENCIES = ('r', 'c', 'f')  # rare, common, frequent
_LVIS_LISTS = ('neg_category_ids', 'not_exhaustive_category_ids')


class Annotations(NamedTuple):
    """A checked annotation file.

    Attributes:
        content: Of the file, with what was repaired.
        flaws: Object id -> why it is unusable for training.
    """

    content: dict
    flaws: dict[int, str]


def require_annotations(path: str, source: str) -> None:
    """Require that an annotation file exists; ``source`` says where to get it.

    Raises:
        InputError: It does not exist.
    """
    if not Path(path).is_file():
        raise InputError(f'annotation file {path}: does not exist; {source} (folder '
                         'layout: docs/detection.md)')


def read_annotations(path: str, source: str, lvis: bool = False) -> Annotations:
    """Read an annotation file and check all of it.

    Harmless deviations are repaired in memory and logged once, with counts. Object ids, whose value
    means nothing, are the one case that official tools do not survive: pycocotools and lvis store
    matches as object ids, with 0 for no match, so object 0 gets another id.

    Args:
        path: JSON file in COCO or LVIS v1 format.
        source: Where to get it, for the message.
        lvis: Whether to require the fields that LVIS adds.

    Returns:
        The content, and which objects are unusable.

    Raises:
        InputError: The file does not exist, is not JSON or has no such sections; or names up to
            ten faults by object and field.
    """
    require_annotations(path, source)
    findings = Findings(path)
    with _no_collector():
        content = _load(path)
        flaws = check_content(content, lvis, findings)
    findings.stop_at_faults()
    if note := findings.note():
        _say_once(note)
    return Annotations(content, flaws)


@contextmanager
def _no_collector() -> Iterator[None]:
    """Pause the search for cycles, of which JSON has none; it doubles the time of reading."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _load(path: str) -> dict:
    """Read the file, with its three sections."""
    try:
        content = parse_annotations(Path(path).read_bytes())
    except ValueError as error:
        raise InputError(f'annotation file {path} is not JSON: {error}') from error
    missing = [name for name in _SECTIONS
               if not isinstance(content, dict) or not isinstance(content.get(name), list)]
    if missing:
        raise InputError(f'annotation file {path} has no list {missing[0]!r}: it is not in COCO '
                         'or LVIS format')
    return content


def parse_annotations(text: bytes) -> Any:
    """As :func:`amt_mm.json_files.parse_json`, three times as fast for what is strictly JSON."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        # NaN and infinity, which Python's own reader takes; it also says better what is wrong.
        return parse_json(text)


def check_content(content: dict, lvis: bool, findings: Findings) -> dict[int, str]:
    """Check all fields of all sections.

    Args:
        content: Of a file with the three sections; harmless deviations are repaired in it.
        lvis: Whether to require the fields that LVIS adds.
        findings: Receives faults and changes.

    Returns:
        Object id -> why it is unusable.

    Raises:
        InputError: LVIS is asked for, and no entry has its fields.
    """
    images, objects, categories = tables = [
        Table(section, noun, content[section], findings) for section, noun in _SECTIONS.items()]
    for table in tables:
        table.whole('id', 0, LARGEST_ID)
        table.unique('id')
    category_ids = categories.ids()
    categories.text('name')
    categories.unique('name')
    images.text('coco_url' if lvis else 'file_name')
    most = 2 * Image.MAX_IMAGE_PIXELS
    for side in ('width', 'height'):
        images.whole(side, 1, most)
    if lvis:
        _require_lvis(images, categories, findings.path)
        categories.text('frequency', _LVIS_FREQUENCIES)
        for field in _LVIS_LISTS:
            images.lists_ids(field, category_ids, 'categories')
    widths, heights = images.column('width'), images.column('height')
    for row in images.rows():
        # LoadImage reads no larger image, and masks take memory in proportion.
        if widths[row] * heights[row] > most:
            images.fault(row, f'`width` and `height` {widths[row]} x {heights[row]} are more than '
                              f'{most} pixels')
    ids, image_ids = images.column('id'), images.ids()
    sizes = {ids[row]: (widths[row], heights[row]) for row in images.rows()}
    flaws: dict[int, str] = {}
    for part in objects.parts():
        part.whole('image_id', 0, LARGEST_ID)
        part.whole('category_id', 0, LARGEST_ID)
        part.refers('image_id', image_ids, 'images')
        part.refers('category_id', category_ids, 'categories')
        for field in ('iscrowd', 'ignore'):
            part.whole(field, 0, 1, optional=True)
        flaws.update(find_flaws(part, sizes, findings))
    _renumber(objects, flaws, findings)
    return flaws


def _require_lvis(images: Table, categories: Table, path: str) -> None:
    """Refuse a file in COCO format as a whole."""
    for table, noun, fields in ((images, 'image', _LVIS_LISTS), (categories, 'category',
                                                                 ('frequency',))):
        for field in fields:
            if table.entries and not any(field in entry for entry in table.entries):
                raise InputError(f'annotation file {path}: no {noun} has `{field}`, which the LVIS '
                                 'metric needs; for COCO format use amt_mm.CocoInstances and '
                                 'amt_mm.CocoInstanceMetric')


def _renumber(objects: Table, flaws: dict[int, str], findings: Findings) -> None:
    """Give object 0 the next free id."""
    ids = objects.column('id')
    if 0 not in ids:
        return
    for row in objects.rows():
        if ids[row] == 0:
            free = 1 + max(objects.ids())
            objects.set(row, 'id', free)
            findings.repaired(
                f'object 0, which the metrics count as never found, becomes {free}', 0)
            if 0 in flaws:
                flaws[free] = flaws.pop(0)


@functools.cache
def _say_once(note: str) -> None:
    """Log a note; data set and metric read the same file."""
    print_log(note, 'current', logging.WARNING)
