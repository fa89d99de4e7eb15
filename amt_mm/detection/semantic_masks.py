"""Masks for semantic segmentation from the objects of an annotation file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from pycocotools import mask as rle

from amt_mm.datasets.load_mask import IGNORED
from amt_mm.errors import InputError


def class_labels(categories: Sequence[Mapping], supercategories: bool, path: str
                 ) -> tuple[dict[int, int], list[str]]:
    """Number categories from 1 in the order of their ids; 0 is background.

    Args:
        categories: Of a checked annotation file.
        supercategories: Whether to number the supercategories in their place.
        path: Of the file, for messages.

    Returns:
        Category id -> label, and the name of each label from 1.

    Raises:
        InputError: A category has no supercategory, or there are more than masks can hold.
    """
    categories = sorted(categories, key=lambda one: one['id'])
    key = 'supercategory' if supercategories else 'name'
    without = [one['name'] for one in categories if not isinstance(one.get(key), str)]
    if without:
        raise InputError(f'{path}: the category {without[0]} has no {key}')
    names = list(dict.fromkeys(one[key] for one in categories))
    if len(names) >= IGNORED:
        raise InputError(f'{path}: has {len(names)} categories, and 8-bit masks hold '
                         f'{IGNORED - 1} and the background'
                         + '; use --supercategories' * (not supercategories))
    return {one['id']: 1 + names.index(one[key]) for one in categories}, names


def paint_mask(size: tuple[int, int], objects: Sequence[Mapping], labels: Mapping[int, int]
               ) -> np.ndarray:
    """Paint the objects of an image, smaller ones over larger ones.

    Args:
        size: Height and width.
        objects: Entries of a checked annotation file.
        labels: Category id -> label.

    Returns:
        ``uint8`` ``(H, W)``: 0 for background, 255 (ignored) for crowds.
    """
    mask = np.zeros(size, np.uint8)
    for each in sorted(objects, key=lambda one: -one['area']):
        shape = each['segmentation']
        if isinstance(shape, list):
            # Without a polygon there is nothing to merge.
            shape = rle.merge(rle.frPyObjects(shape, *size)) if shape else None
        elif isinstance(shape['counts'], list):
            shape = rle.frPyObjects(shape, *size)
        if shape is not None:
            mask[rle.decode(shape) > 0] = (
                IGNORED if each.get('iscrowd') else labels[each['category_id']])
    return mask
