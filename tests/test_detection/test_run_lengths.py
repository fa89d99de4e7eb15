"""Lengths of compressed masks, against pycocotools where it can tell."""

import numpy as np
import pytest
from pycocotools import mask as rle

from amt_mm.detection.run_lengths import count_pixels


def text(mask):
    return rle.encode(np.asfortranarray(mask.astype(np.uint8)))['counts'].decode()


def test_equals_pycocotools():
    chance = np.random.RandomState(0)
    masks = [chance.rand(*chance.randint(1, 60, 2)) < chance.rand() for _ in range(300)]
    # Long runs take several characters; equal ones are differences of 0.
    masks += [np.zeros((311, 207)), np.ones((311, 207)), np.eye(97), np.tile([[0, 1]], (3, 500))]
    total, inside = count_pixels(list(map(text, masks)))
    assert total.tolist() == [mask.size for mask in masks]
    assert inside.tolist() == [int(mask.sum()) for mask in masks]


def test_counts_of_any_size():
    """Runs of up to 2**29 pixels, by the library's own encoder."""
    runs = [0, 1, 15, 16, 2**9, 2**14 - 1, 3, 2**24, 2**28, 5]
    made = rle.frPyObjects(dict(size=[1, sum(runs)], counts=runs), 1, sum(runs))
    total, inside = count_pixels([made['counts'].decode()])
    assert (total[0], inside[0]) == (sum(runs), sum(runs[1::2]))


@pytest.mark.parametrize('broken', [
    'P',  # says that another character follows
    '0oP', '/', 'p', '\u20ac', '\ud800', ' 0',
    'oooooo0',  # longer than any number
    'O',  # -1 pixel
    '055J00',  # 5 - 6 pixels
])
def test_what_is_no_encoding(broken):
    """Beside others, which it must not change."""
    total, inside = count_pixels(['52', broken, '', '31'])
    assert total.tolist() == [7, -1, 0, 4] and inside.tolist() == [2, -1, 0, 1]
