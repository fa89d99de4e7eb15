"""Which objects cannot be learnt, and which boxes are none."""

import math

import pytest
from detection_toys import rectangle

from amt_mm.detection.annotated_objects import find_flaws
from amt_mm.detection.annotation_faults import Findings
from amt_mm.detection.annotation_table import Table
from amt_mm.errors import InputError

BOX = [4, 6, 20, 16]
WIDTH, HEIGHT = 64, 48
SIZES = {1: (30, 20), 2: (WIDTH, HEIGHT)}


def entry(**changes):
    return {**dict(id=7, image_id=2, bbox=BOX, area=320, segmentation=rectangle(*BOX)), **changes}


def flaws(*entries):
    findings = Findings('x.json')
    found = find_flaws(Table('annotations', 'object', list(entries), findings), SIZES, findings)
    findings.stop_at_faults()
    return found


@pytest.mark.parametrize('changes', [
    {},
    dict(bbox=[-5, -5, 20, 16]),
    dict(bbox=[63, 47, 20, 16]),
    dict(bbox=[-WIDTH, -HEIGHT, 3 * WIDTH, 3 * HEIGHT]),
    dict(bbox=[4, 6, 1, 1]),
    dict(iscrowd=1),
    dict(ignore=0), dict(ignore=None),
])
def test_usable_objects(changes):
    assert flaws(entry(**changes)) == {}


@pytest.mark.parametrize(('changes', 'reason'), [
    (dict(ignore=1), 'marked as ignored'),
    (dict(bbox=[4, 6, 0, 16]), 'box thinner than one pixel'),
    (dict(bbox=[4, 6, 20, .5]), 'box thinner than one pixel'),
    (dict(bbox=[4, 6, -20, 16]), 'box thinner than one pixel'),
    (dict(bbox=[64, 6, 20, 16]), 'box outside the image'),
    (dict(bbox=[4, -30, 20, 16]), 'box outside the image'),
    (dict(area=0), 'empty mask'),
    (dict(segmentation=[]), 'empty mask'),
    (dict(segmentation=[[4, 6, 24, 6, 14, 6]]), 'empty mask'),
    # The first reason counts.
    (dict(ignore=1, bbox=[64, 6, 0, 16], area=0), 'marked as ignored'),
    (dict(bbox=[70, 6, 0, 16], area=0, segmentation=[]), 'box thinner than one pixel'),
    (dict(bbox=[70, 6, 20, 16], segmentation=[]), 'box outside the image'),
])
def test_flaws(changes, reason):
    """Between objects without flaws, in an image of another size, too."""
    small = [dict(entry(bbox=[1, 1, 9, 9]), id=number, image_id=1) for number in (1, 9)]
    assert flaws(small[0], entry(**changes), small[1]) == {7: reason}


@pytest.mark.parametrize(('changes', 'message'), [
    *((dict(bbox=box), r'`bbox` .* is not \[x, y, width, height\] in pixels') for box in (
        None, [], [1, 2, 3], [4, 6, None, 16], ['4', '6', '20', '16'], [4, 6, math.nan, 16],
        [math.inf, 6, 20, 16], [4, 6, 10**400, 16], [True, 6, 20, 16], '4444', {})),
    *((dict(area=area), '`area` .* is not a number of pixels') for area in (
        None, '5', math.nan, math.inf, -1, 10**400, True, [])),
    (dict(bbox=[4, 6, 125, 16]), 'reaches more than a whole image outside of 64 x 48 pixels'),
    (dict(bbox=[4, 6, 20, 91]), 'reaches more than a whole image outside'),
    (dict(bbox=[-65, 6, 90, 16]), 'reaches more than a whole image outside'),
    (dict(bbox=[4, 97, 20, 16]), 'reaches more than a whole image outside'),
])
def test_refuses_what_is_no_box(changes, message):
    with pytest.raises(InputError, match=rf'x.json: object 7 of image 2: .*{message}'):
        flaws(entry(id=1), entry(**changes))
