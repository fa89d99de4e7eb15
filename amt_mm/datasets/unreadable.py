"""Tell an image that cannot be read from a fault of the program."""

from __future__ import annotations

import struct
import traceback
import zlib

import cv2
from mmcv.transforms import LoadImageFromFile
from PIL import Image

from amt_mm.errors import UnreadableImage

# What mmcv's loading raises on missing and damaged files. A missing key, a wrong argument or a
# wrong type are faults of the program or the config.
_OF_FILES = (OSError, EOFError, ValueError, AssertionError, RuntimeError, SyntaxError, zlib.error,
             struct.error, cv2.error, Image.DecompressionBombError)


def is_unreadable_image(error: BaseException) -> bool:
    """Whether an error says that an image cannot be read.

    Our loading transforms raise :class:`amt_mm.errors.UnreadableImage`. Those of mmcv,
    mmpretrain and mmdet raise whatever the decoder does: what files cause counts if it comes
    from within one of them, so that the same error of any other transform does not.

    Args:
        error: As it was caught, with its traceback.
    """
    if isinstance(error, UnreadableImage):
        return True
    return isinstance(error, _OF_FILES) and any(
        isinstance(frame.f_locals.get('self'), LoadImageFromFile)
        for frame, _ in traceback.walk_tb(error.__traceback__))
