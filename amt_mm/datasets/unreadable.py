"""Distinguish unreadable images from faults of the program."""

from __future__ import annotations

import errno
import struct
import traceback
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
from mmcv.transforms import LoadImageFromFile
from PIL import Image

from amt_mm.errors import InputError, UnreadableImage
from amt_mm.printable import one_line

# Raised by decoders, such as those of mmcv's loading, on missing and damaged files. Missing keys,
# wrong arguments and wrong types are faults of the program or the config.
FILE_ERRORS = (OSError, EOFError, ValueError, AssertionError, RuntimeError, SyntaxError,
               zlib.error, struct.error, cv2.error, Image.DecompressionBombError)

# What the system lacks, whatever the file: handles of this process or of all, or memory.
_SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def is_shortage(error: BaseException) -> bool:
    """Whether a file could not be read for want of memory or file handles: another time, it can."""
    return is_out_of_memory(error) or (
        isinstance(error, OSError) and error.errno in _SHORTAGES)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory could not be allocated, as decoders say it."""
    # The code of cv2.error is that of the last error, whichever it was.
    return isinstance(error, MemoryError) or (
        isinstance(error, cv2.error) and f'({cv2.Error.StsNoMem}:' in str(error))


@contextmanager
def want_of_memory(path: str | Path) -> Iterator[None]:
    """Raise :class:`amt_mm.errors.InputError` where memory does not suffice to decode a file."""
    try:
        yield
    except (MemoryError, cv2.error) as error:
        if not is_out_of_memory(error):
            raise
        raise InputError(f'{one_line(str(path))}: not enough memory to decode it: use fewer '
                         'workers or a smaller copy of the image') from error


def is_unreadable_image(error: BaseException) -> bool:
    """Whether a caught error, with its traceback, means that an image cannot be read.

    Our loading transforms raise :class:`amt_mm.errors.UnreadableImage`; another
    :class:`amt_mm.errors.InputError` is about a readable image, such as one that does not fit its
    labels. Those of mmcv, mmpretrain and mmdet raise whatever the decoder does; errors that files
    can cause count if raised within one of them, so the same error in another transform does not.
    """
    if isinstance(error, InputError):
        return isinstance(error, UnreadableImage)
    return not is_shortage(error) and isinstance(error, FILE_ERRORS) and any(
        isinstance(frame.f_locals.get('self'), LoadImageFromFile)
        for frame, _ in traceback.walk_tb(error.__traceback__))
