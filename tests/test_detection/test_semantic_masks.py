"""Semantic masks painted from objects, against pixels painted by hand."""

import numpy as np
import pytest

from amt_mm.detection.semantic_masks import class_labels, paint_mask
from amt_mm.errors import InputError

CATEGORIES = [dict(id=9, name='cat', supercategory='animal'),
              dict(id=4, name='car', supercategory='vehicle'),
              dict(id=17, name='dog', supercategory='animal')]


def rectangle(x, y, w, h):
    return [x, y, x + w, y, x + w, y + h, x, y + h]


def test_smaller_objects_lie_over_larger_ones_and_crowds_are_ignored():
    crowd = np.zeros((7, 10), bool)
    crowd[5:, :4] = True
    runs, column = [], crowd.T.ravel()
    for value in column:
        if len(runs) % 2 == value:
            runs.append(0)
        runs[-1] += 1
    objects = [
        dict(category_id=9, area=12, segmentation=[rectangle(1, 1, 3, 2), rectangle(7, 4, 2, 3)]),
        dict(category_id=4, area=40, segmentation=[rectangle(0, 0, 8, 5)]),
        dict(category_id=17, area=0, segmentation=[]),
        dict(category_id=17, area=8, iscrowd=1, segmentation=dict(size=[7, 10], counts=runs))]
    wanted = np.zeros((7, 10), int)
    wanted[:5, :8] = 1
    wanted[1:3, 1:4] = wanted[4:7, 7:9] = 2
    wanted[crowd] = 255
    labels, names = class_labels(CATEGORIES, False, 'a.json')
    assert names == ['car', 'cat', 'dog']
    np.testing.assert_array_equal(paint_mask((7, 10), objects, labels), wanted)


def test_supercategories_are_numbered_by_their_first_category():
    assert class_labels(CATEGORIES, True, 'a.json') == (
        {4: 1, 9: 2, 17: 2}, ['vehicle', 'animal'])


def test_categories_that_masks_cannot_hold_are_refused():
    many = [dict(id=i, name=f'c{i}') for i in range(255)]
    assert len(class_labels(many[:254], False, 'a.json')[1]) == 254
    with pytest.raises(InputError, match='a.json: has 255 categories.*--supercategories'):
        class_labels(many, False, 'a.json')
    with pytest.raises(InputError, match='a.json: the category c0 has no supercategory'):
        class_labels(many[:3], True, 'a.json')
