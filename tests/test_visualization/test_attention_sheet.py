"""The sheet of attention maps: place of each block and head, sizes, labels."""

import numpy as np
import pytest

from amt_mm.errors import InputError
from amt_mm.visualization import saliency_overlay, upscale
from amt_mm.visualization.attention_sheet import attention_sheet

IMAGE = np.random.default_rng(0).integers(0, 255, (40, 56, 3), dtype=np.uint8)


@pytest.mark.parametrize(('blocks', 'heads', 'width', 'cell'), [(2, 3, 1060, 12), (1, 16, 1060, 8),
                                                               (1, 2, 20, 3)])
def test_each_map_is_in_its_place(blocks, heads, width, cell):
    attention = np.random.default_rng(1).random((blocks, heads, 5, 7))
    sheet = attention_sheet(IMAGE, attention, width)
    high, across = 5 * cell, 7 * cell
    left, top = sheet.shape[1] - heads * (across + 3), sheet.shape[0] - blocks * (high + 3)
    assert left > 0 and top > 0
    if width > 20:
        assert sheet.shape[1] <= width
    for block in range(blocks):
        for head in range(heads):
            y, x = top + block * (high + 3), left + head * (across + 3)
            wanted = saliency_overlay(upscale(IMAGE, (5, 7), cell, smooth=True),
                                      attention[block, head])
            np.testing.assert_array_equal(sheet[y:y + high, x:x + across], wanted)
            # Labels stand beside the first column and above the first row.
    assert (sheet[top:, :left] < 100).all(axis=2).any()
    assert (sheet[:top, left:] < 100).all(axis=2).any()


def test_another_shape_is_refused():
    with pytest.raises(InputError, match='must be .blocks, heads, h, w.'):
        attention_sheet(IMAGE, np.ones((3, 5, 7)))
