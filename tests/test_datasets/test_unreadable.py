"""A want of memory is told from a damaged file."""

import cv2
import numpy as np
import pytest

from amt_mm.datasets import LoadImage
from amt_mm.errors import InputError, UnreadableImage


@pytest.mark.parametrize('shortage', [
    # More than the address space.
    lambda *_: cv2.resize(np.zeros((1, 1, 4)), (4_000_000, 4_000_000)),
    lambda *_: np.zeros((4_000_000, 4_000_000, 4)),
], ids=['cv2', 'numpy'])
def test_a_want_of_memory_is_no_fault_of_the_image(tmp_path, monkeypatch, shortage):
    cv2.imwrite(str(tmp_path / 'a.png'), np.arange(105, dtype=np.uint8).reshape(5, 7, 3))
    path = {'img_path': str(tmp_path / 'a.png')}
    monkeypatch.setattr(cv2, 'imdecode', shortage)
    with pytest.raises(InputError, match=r'a\.png: not enough memory to decode it') as error:
        LoadImage(ignore_empty=True)(path)
    assert not isinstance(error.value, UnreadableImage)
    # An error of OpenCV after it is another one.
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: cv2.cvtColor(np.zeros((2, 2)), 999_999))
    with pytest.raises(UnreadableImage, match=r'a\.png: unreadable'):
        LoadImage()(path)
