"""J and F: by loops over pixels, on blobs of odd shapes."""

import math

import numpy as np
import pytest

from amt_mm.evaluation.object_measures import contour_accuracy, region_similarity


def blobs(seed, height=67, width=93, count=3):
    """Ellipses anywhere, also over the edge."""
    chance = np.random.RandomState(seed)
    rows, columns = np.mgrid[:height, :width]
    mask = np.zeros((height, width), bool)
    for _ in range(count):
        row, column = chance.randint(0, height), chance.randint(0, width)
        mask |= ((rows - row) / chance.randint(3, 20))**2 + (
            (columns - column) / chance.randint(3, 20))**2 <= 1
    return mask


def slow_contour(mask):
    """Points at which a pixel and its neighbour to the right, below or at the corner differ."""
    height, width = mask.shape
    return [(i, j) for i in range(height) for j in range(width)
            if any(mask[i, j] != mask[a, b] for a, b in ((i, j + 1), (i + 1, j), (i + 1, j + 1))
                   if a < height and b < width)]


def slow_f(mask, found):
    true, ours = slow_contour(mask), slow_contour(found)
    reach = math.ceil(.008 * math.sqrt(mask.shape[0]**2 + mask.shape[1]**2))

    def matched(points, others):
        return sum(any((a - c)**2 + (b - d)**2 <= reach**2 for c, d in others)
                   for a, b in points) / len(points)

    precision, recall = matched(ours, true), matched(true, ours)
    return 2 / (1 / precision + 1 / recall)


@pytest.mark.parametrize('shape', [(67, 93), (150, 41)])
def test_they_are_those_of_loops_over_pixels(shape):
    for seed in range(4):
        mask, found = blobs(seed, *shape), blobs(seed, *shape)
        found = np.roll(found, (seed + 2, -3), (0, 1)) & ~blobs(9 + seed, *shape, 1)
        pairs = set(map(tuple, np.argwhere(mask))), set(map(tuple, np.argwhere(found)))
        assert region_similarity(mask, found) == len(pairs[0] & pairs[1]) / len(pairs[0] | pairs[1])
        wanted = slow_f(mask, found)
        assert contour_accuracy(mask, found) == pytest.approx(wanted) and .1 < wanted < 1


def test_contours_match_within_their_tolerance():
    """At 480 x 854 pixels, 8 pixels are near enough, and 9 are not."""
    mask = np.zeros((480, 854), bool)
    mask[100:300, 100:700] = True
    for shift, wanted in ((8, 1), (9, None)):
        found = np.zeros_like(mask)
        found[100 + shift:300 + shift, 100:700] = True
        value = contour_accuracy(mask, found)
        assert value == 1 if wanted else .2 < value < .5


def test_nothing_is_found_right_where_nothing_is():
    mask, nothing = blobs(0), np.zeros((67, 93), bool)
    for measure in (region_similarity, contour_accuracy):
        assert [measure(nothing, nothing), measure(mask, nothing), measure(nothing, mask),
                measure(mask, mask)] == [1, 0, 0, 1]
    # Contours that are nowhere near each other.
    other = np.zeros((67, 93), bool)
    mask = other.copy()
    mask[2:5, 2:5], other[50:55, 80:85] = True, True
    assert contour_accuracy(mask, other) == 0
