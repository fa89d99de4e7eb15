"""Annotation files in COCO and LVIS v1 format, and which objects are unusable for training."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pycocotools import mask as rle

from amt_mm.errors import InputError

COCO_SOURCE = 'annotations_trainval2017.zip and the images are at https://cocodataset.org/#download'
LVIS_SOURCE = ('lvis_v1_train.json.zip and lvis_v1_val.json.zip are at '
               'https://www.lvisdataset.org/dataset, the images are those of COCO 2017')

_SECTIONS = ('images', 'annotations', 'categories')
_POINTS_OF_A_POLYGON = 3


def require_annotations(path: str, source: str) -> None:
    """Require that an annotation file exists; ``source`` says where to get it.

    Raises:
        InputError: It does not exist.
    """
    if not Path(path).is_file():
        raise InputError(f'annotation file {path}: does not exist; {source} (folder '
                         'layout: docs/detection.md)')


def read_annotations(path: str, source: str) -> dict:
    """Read an annotation file and check its cross-references.

    Args:
        path: JSON file in COCO or LVIS v1 format.
        source: Where to get it, for the message.

    Returns:
        Its content.

    Raises:
        InputError: The file does not exist or is not JSON, a section is missing, an object
            refers to an unknown image or category, or an id is duplicated or, of an object, 0.
    """
    require_annotations(path, source)
    try:
        content = json.loads(Path(path).read_bytes())
    except ValueError as error:
        raise InputError(f'annotation file {path} is not JSON: {error}') from error
    missing = [name for name in _SECTIONS
               if not isinstance(content, dict) or not isinstance(content.get(name), list)]
    if missing:
        raise InputError(f'annotation file {path} has no list {missing[0]!r}: it is not in COCO '
                         'or LVIS format')
    try:
        _check_references(path, content)
    except KeyError as error:
        raise InputError(f'annotation file {path} is not in COCO or LVIS format: an entry lacks '
                         f'{error}') from error
    return content


def _check_references(path: str, content: Mapping) -> None:
    ids = {section: set() for section in _SECTIONS}
    for section, seen in ids.items():
        for entry in content[section]:
            if entry['id'] in seen:
                raise InputError(f'annotation file {path}: duplicate id {entry["id"]} in '
                                 f'`{section}`')
            seen.add(entry['id'])
    for entry in content['annotations']:
        where = f'annotation file {path}: object {entry["id"]} of image {entry["image_id"]}'
        if entry['image_id'] not in ids['images']:
            raise InputError(f'{where}: the image is not in `images`')
        if entry['category_id'] not in ids['categories']:
            raise InputError(f'{where}: category_id {entry["category_id"]} is not in `categories`')
        # pycocotools and lvis store matches as object ids, with 0 for no match.
        if entry['id'] == 0:
            raise InputError(f'{where}: object ids must start at 1, because the metrics count '
                             'object 0 as never found')


def find_flaw(entry: Mapping, width: int, height: int) -> str | None:
    """Return why an object is unusable for training, None if it is usable.

    Boxes that reach over the edge of the image and crowds are usable.

    Args:
        entry: Object of the file; its box is ``(x, y, width, height)`` in pixels.
        width: Of its image, in pixels.
        height: Of its image, in pixels.

    Raises:
        InputError: The mask belongs to an image of another size, or a field is missing or of
            the wrong type.
    """
    try:
        # The addition rejects non-numbers such as null.
        x, y, w, h = (number + 0. for number in entry['bbox'])
        area, mask = entry['area'] + 0., entry['segmentation']
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f'object {entry["id"]} of image {entry["image_id"]} needs valid `bbox`, '
                         f'`area` and `segmentation` ({error})') from error
    if entry.get('ignore'):
        return 'marked as ignored'
    # Negated so that NaN is a flaw, too.
    if not (w >= 1 and h >= 1):
        return 'box thinner than one pixel'
    if min(x + w, width) <= max(x, 0) or min(y + h, height) <= max(y, 0):
        return 'box outside the image'
    if not area > 0 or _is_empty(mask, entry, width, height):
        return 'empty mask'
    return None


def _is_empty(mask: Mapping | Sequence, entry: Mapping, width: int, height: int) -> bool:
    if not mask:
        return True
    if isinstance(mask, list) and all(isinstance(polygon, list) for polygon in mask):
        return all(len(polygon) < 2 * _POINTS_OF_A_POLYGON or len(polygon) % 2
                   for polygon in mask)
    where = f'object {entry["id"]} of image {entry["image_id"]}'
    if not (isinstance(mask, Mapping) and isinstance(mask.get('size'), list) and
            mask.get('counts') is not None):
        raise InputError(f'{where}: `segmentation` is neither a list of polygons nor a '
                         'run-length encoding with `size` and `counts`')
    if mask['size'] != [height, width]:
        raise InputError(f'{where}: the mask is {" x ".join(map(str, mask["size"]))} pixels, '
                         f'the image {height} x {width} (height x width)')
    if isinstance(mask['counts'], list):
        return not sum(mask['counts'][1::2])
    return not rle.area(mask)
