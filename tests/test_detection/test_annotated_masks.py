"""Which masks are empty, against pycocotools' pixels, and which are none."""

import math

import numpy as np
import pytest
from detection_toys import disc, rectangle
from pycocotools import mask as rle

from amt_mm.detection.annotated_masks import find_empty_masks
from amt_mm.detection.annotation_faults import Findings
from amt_mm.detection.annotation_table import Table
from amt_mm.errors import InputError

WIDTH, HEIGHT = 64, 48
PIXELS = WIDTH * HEIGHT
BOX = [4, 6, 20, 16]


def check(masks):
    """Return positions of empty masks, the masks afterwards, and the note."""
    findings = Findings('x.json')
    entries = [dict(id=i + 1, image_id=2, segmentation=mask) for i, mask in enumerate(masks)]
    table = Table('annotations', 'object', entries, findings)
    empty = find_empty_masks(table, np.arange(len(masks)), np.array([[WIDTH, HEIGHT]] * len(masks)),
                             findings)
    findings.stop_at_faults()
    return empty, [entry['segmentation'] for entry in entries], findings.note()


EMPTY = rle.frPyObjects(dict(size=[HEIGHT, WIDTH], counts=[PIXELS]), HEIGHT, WIDTH)['counts']
USABLE = [
    rectangle(*BOX),
    disc(*BOX, (WIDTH, HEIGHT)),
    dict(size=[HEIGHT, WIDTH], counts=[5, 3, PIXELS - 8]),
    dict(size=[HEIGHT, WIDTH], counts=[0, PIXELS]),
    # Over the edge, up to a whole image.
    rectangle(-WIDTH, -HEIGHT, 3 * WIDTH, 3 * HEIGHT),
    # A figure of eight, whose halves turn in opposite directions.
    [[10, 10, 20, 20, 20, 10, 10, 20]],
    # One polygon without pixels beside one with pixels.
    [[1, 1, 9, 9, 1, 1], *rectangle(*BOX)],
    [[3.3, 4, 9.1, 4, True, 9]],
]
WITHOUT_PIXELS = [
    [[4, 6, 24, 6, 14, 6]],  # on a line
    [[4.1, 6.3, 8.2, 12.6, 12.3, 18.9]],
    [[7, 7, 7, 7, 7, 7]],  # a point
    [[4, 6, 24, 6, 24, 22, 24, 6]],  # there and back
    [[10.1, 10.1, 10.2, 10.1, 10.2, 10.2]],  # between pixels
    dict(size=[HEIGHT, WIDTH], counts=[PIXELS]),
    dict(size=[HEIGHT, WIDTH], counts=EMPTY.decode()),
]
WITHOUT_POLYGON = [[], [[]], [[1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7]]]


def pixels(mask):
    made = rle.frPyObjects(mask, HEIGHT, WIDTH) if (
        isinstance(mask, list) or isinstance(mask['counts'], list)) else mask
    return int(rle.area(rle.merge(made) if isinstance(made, list) else made))


def test_empty_masks():
    masks = [*USABLE, *WITHOUT_PIXELS, *WITHOUT_POLYGON]
    order = np.random.RandomState(0).permutation(len(masks))
    empty, after, note = check([masks[k] for k in order])
    assert all(map(pixels, USABLE)) and not any(map(pixels, WITHOUT_PIXELS))
    assert {order[position] for position in empty} == set(range(len(USABLE), len(masks)))
    assert note is None
    for k, mask in zip(order, after, strict=True):
        assert mask == ([] if masks[k] in WITHOUT_POLYGON else masks[k])


def test_random_slivers_equal_pycocotools():
    chance = np.random.RandomState(0)
    masks = []
    for _ in range(400):
        corner, scale = chance.uniform(0, 40, 2), chance.choice([.1, .5, 1, 2, 4])
        masks.append([(corner + chance.uniform(0, scale, (n, 2))).ravel().tolist()
                      for n in chance.randint(3, 7, chance.randint(1, 3))])
    empty, after, _ = check(masks)
    assert empty == {k for k, mask in enumerate(masks) if pixels(mask) == 0}
    assert after == masks and 40 < len(empty) < 360


def test_polygons_without_three_points_are_dropped_and_counted():
    whole = rectangle(*BOX)
    _, after, note = check([[[1, 2], *whole], whole, [*whole, [1, 2, 3, 4, 5, 6, 7]]])
    assert after == [whole] * 3
    assert note.endswith('an odd count of numbers, left out: 2 (id 1, 3)')


@pytest.mark.parametrize(('mask', 'message'), [
    (None, '`segmentation` None is neither a list of polygons nor a run-length encoding'),
    ('abc', "`segmentation` 'abc' is neither"),
    ([4, 6, 24, 6, 24, 22], '`segmentation` has 4, which is not a polygon'),
    ([[[4, 6], [24, 6], [24, 22]]], r'`segmentation` has \[\[4, 6\], .* is not a polygon'),
    ([[4, 6, None, 6, 24, 22]], 'which is not a polygon'),
    ([[4, 6, '24', 6, 24, 22]], 'which is not a polygon'),
    ([[4, 6, math.nan, 6, 24, 22]], '`segmentation` has nan: not finite, or more than a whole'),
    ([[4, 6, math.inf, 6, 24, 22]], '`segmentation` has inf: not finite'),
    ([[4, 6, 129, 6, 24, 22]], '`segmentation` has 129: .* outside of 64 x 48 pixels'),
    ([[4, 6, 24, 97, 24, 22]], '`segmentation` has 97: '),
    ([[4, 6, -65, 6, 24, 22]], '`segmentation` has -65: '),
    (dict(counts=[5, 3, 9]), '`segmentation.size` None is not .height, width.'),
    (dict(size=[48.0, 64], counts=[5]), r'`segmentation.size` \[48.0, 64\] is not .height, width'),
    (dict(size=[WIDTH, HEIGHT], counts=[PIXELS]),
     r'`segmentation.size` \[64, 48\] is not that of the image, \[48, 64\]'),
    (dict(size=[HEIGHT, WIDTH]), '`segmentation.counts` None is neither'),
    (dict(size=[HEIGHT, WIDTH], counts=[5, 3]), 'sums to 8, the image has 3072 pixels'),
    (dict(size=[HEIGHT, WIDTH], counts=[0, PIXELS + 1]), 'sums to 3073, the image has 3072'),
    (dict(size=[HEIGHT, WIDTH], counts=[-1, PIXELS + 1]), 'is not a run-length encoding'),
    (dict(size=[HEIGHT, WIDTH], counts=[]), 'sums to 0, the image has 3072'),
    (dict(size=[HEIGHT, WIDTH], counts='52'), "'52' sums to 7, the image has 3072 pixels"),
    (dict(size=[HEIGHT, WIDTH], counts='5P'), "'5P' is not a run-length encoding"),
])
def test_refuses_what_is_no_mask(mask, message):
    with pytest.raises(InputError, match=rf'x.json: object 2 of image 2: {message}|'
                                         rf'x.json: object 2 of image 2: .*{message}'):
        check([rectangle(*BOX), mask, disc(*BOX, (WIDTH, HEIGHT))])
