"""Annotation files in the layouts of COCO and LVIS v1, and objects that cannot be learnt."""

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
    """Stop where there is no annotation file.

    Args:
        path: Where it is expected.
        source: Where to get it.

    Raises:
        InputError: There is no such file.
    """
    if not Path(path).is_file():
        raise InputError(f'annotation file {path}: there is no such file; {source} (docs/'
                         'detection.md shows the folders)')


def read_annotations(path: str, source: str) -> dict:
    """Read an annotation file and check what its parts say of each other.

    Args:
        path: A JSON file in the layout of COCO or LVIS v1.
        source: Where to get it, for the message.

    Returns:
        Its content.

    Raises:
        InputError: There is no such file, it is not JSON, a section is missing, an object
            is of an image or a category that the file does not list, an id is there twice,
            or that of an object is 0.
    """
    require_annotations(path, source)
    try:
        content = json.loads(Path(path).read_bytes())
    except ValueError as error:
        raise InputError(f'annotation file {path} is not JSON: {error}') from error
    missing = [name for name in _SECTIONS
               if not isinstance(content, dict) or not isinstance(content.get(name), list)]
    if missing:
        raise InputError(f'annotation file {path} has no list {missing[0]!r}: it is not in the '
                         'layout of COCO or LVIS')
    try:
        _check_references(path, content)
    except KeyError as error:
        raise InputError(f'annotation file {path} is not in the layout of COCO or LVIS: an entry '
                         f'lacks {error}') from error
    return content


def _check_references(path: str, content: Mapping) -> None:
    images = _unique_ids(path, content, 'images')
    categories = _unique_ids(path, content, 'categories')
    seen = set()
    for entry in content['annotations']:
        where = f'annotation file {path}: object {entry["id"]} of image {entry["image_id"]}'
        if entry['image_id'] not in images:
            raise InputError(f'{where}: `images` does not list that image')
        if entry['category_id'] not in categories:
            raise InputError(f'{where} has category_id {entry["category_id"]}, which `categories` '
                             'does not list')
        # pycocotools and lvis note a match by the object's id, and read 0 as none.
        if entry['id'] == 0:
            raise InputError(f'{where}: object ids must start at 1, with 0 the object would count '
                             'as never found')
        if entry['id'] in seen:
            raise InputError(f'{where}: another object has the same id')
        seen.add(entry['id'])


def _unique_ids(path: str, content: Mapping, section: str) -> set[int]:
    ids = set()
    for entry in content[section]:
        if entry['id'] in ids:
            raise InputError(f'annotation file {path}: id {entry["id"]} is there twice in '
                             f'`{section}`')
        ids.add(entry['id'])
    return ids


def flaw(entry: Mapping, width: int, height: int) -> str | None:
    """Say why an object cannot be learnt.

    Args:
        entry: An object of the file; its box is ``(x, y, width, height)`` in pixels.
        width: Of its image, in pixels.
        height: Of its image, in pixels.

    Returns:
        The reason, None if there is nothing against it. A box that reaches over the edge
        of the image is sound, and so is a crowd.

    Raises:
        InputError: Its mask belongs to an image of another size, or a field is missing or
            of another kind.
    """
    try:
        # The sum refuses what is no number, such as null.
        x, y, w, h = (number + 0. for number in entry['bbox'])
        area, mask = entry['area'] + 0., entry['segmentation']
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f'object {entry["id"]} of image {entry["image_id"]} has no sound `bbox`, '
                         f'`area` and `segmentation` ({error})') from error
    if entry.get('ignore'):
        return 'marked to be ignored'
    # Written so that NaN is a flaw, too.
    if not (w >= 1 and h >= 1):
        return 'box thinner than a pixel'
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
        raise InputError(f'{where}: its `segmentation` is neither a list of polygons nor a '
                         'run-length encoding with `size` and `counts`')
    if mask['size'] != [height, width]:
        raise InputError(f'{where}: its mask is of {" x ".join(map(str, mask["size"]))} pixels, '
                         f'the image of {height} x {width} (height x width)')
    if isinstance(mask['counts'], list):
        return not sum(mask['counts'][1::2])
    return not rle.area(mask)
