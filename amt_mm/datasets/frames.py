"""Frames of one file as images of their own: ``scan.tif#12`` is the frame of index 12."""

from __future__ import annotations

import os
import re
from pathlib import PurePath

import numpy as np
from mmengine import fileio

from amt_mm.errors import InputError

from .dicom import DICOM, count_dicom_frames, is_dicom, read_dicom_frame
from .loading import refuse_many_values
from .open_picture import open_picture
from .pixel_arrays import NUMPY, array_values, frame_values
from .tiff import TIFF, count_tiff_frames, read_tiff_frame
from .unreadable import is_shortage

_NAME = re.compile(r'(.+\.\w+)#(\d+)', re.DOTALL)
# Number of frames of a file: several data sets of a process list the same files.
_COUNTS: dict[tuple, int | None] = {}


def split_frame(name: str) -> tuple[str, int | None]:
    """Return file and index, ``('scan.tif', 12)`` of ``'scan.tif#12'``; None for a whole file."""
    match = _NAME.fullmatch(name)
    return (match[1], int(match[2])) if match else (name, None)


def frame_names(path: str, name: str) -> list[str]:
    """Name the frames of a file, by its headers.

    A file of one picture, or one that cannot be read, keeps its name: loading it says what is
    wrong.

    Args:
        path: Where it is.
        name: What to call it.

    Raises:
        InputError: A package is missing, or an ``.npz`` may have frames.
    """
    key = path, *file_version(path)
    if key not in _COUNTS:
        try:
            with fileio.get_local_path(path) as local:
                count = _count(local)
                # A header may say any number; a frame takes a byte at least.
                _COUNTS[key] = count if count and count <= os.path.getsize(local) else None
        except Exception as error:  # decoders raise anything on broken bytes
            if isinstance(error, InputError) or is_shortage(error):
                raise
            _COUNTS[key] = None
    count = _COUNTS[key]
    return [f'{name}#{index}' for index in range(count)] if count else [name]


def read_frame(path: str, index: int) -> np.ndarray:
    """Read one frame, without decoding the others where the format allows that.

    Animations (GIF) and compressed videos of DICOM build on frames before.

    Args:
        path: Of the file; arrays are ``(frames, H, W)`` or ``(frames, H, W, C)``.
        index: From 0, over all axes of a TIFF but rows, columns and channels, the last one fastest.

    Returns:
        ``(H, W, C)``, as :func:`~amt_mm.datasets.pixel_arrays.read_pixels` returns it.

    Raises:
        InputError: A package is missing, or there is no such frame: the file has changed.
        Exception: Of any type, with the reason why the frame cannot be decoded.
    """
    with fileio.get_local_path(path) as local:
        frame = _READERS[_kind(local)](local, index)
    if frame is None:
        raise InputError(f'{path}: has no frame of index {index} any more: the file has changed '
                         'since its folder was listed')
    return frame


def file_version(path: str) -> tuple[int, ...]:
    """Size and time of a local file; nothing of one at an address."""
    try:
        status = os.stat(path)
    except OSError:
        return ()
    return status.st_size, status.st_mtime_ns


def _kind(path: str) -> str:
    suffix = PurePath(path).suffix.lower()
    if suffix in NUMPY:
        return 'array'
    with open(path, 'rb') as file:
        start = file.read(132)
    if suffix in DICOM or is_dicom(start):
        return 'dicom'
    return 'tiff' if start.startswith(TIFF) else 'picture'


def _count(path: str) -> int | None:
    """Number of frames; None of a file that is a single picture."""
    kind = _kind(path)
    if kind == 'array':
        if path.lower().endswith('.npz'):
            raise InputError(f"{path}: frames of .npz cannot be read one by one (pages='frames'): "
                             'save the array as .npy')
        array = np.load(path, mmap_mode='r', allow_pickle=False)
        return len(array) if array.ndim in (3, 4) else None
    if kind in _COUNTERS:
        count = _COUNTERS[kind](path)
    else:
        with open(path, 'rb') as file, open_picture(file) as image:
            count = getattr(image, 'n_frames', 1)
    return count if count > 1 else None


def _read_array(path: str, index: int) -> np.ndarray | None:
    array = np.load(path, mmap_mode='r', allow_pickle=False)
    if index >= len(array):
        return None
    # Entries of no bytes make a file of any shape.
    refuse_many_values(array[index].size, array.itemsize)
    return array_values(np.array(array[index]), -1)


def _read_picture(path: str, index: int) -> np.ndarray | None:
    with open(path, 'rb') as file, open_picture(file) as image:
        if index >= getattr(image, 'n_frames', 1):
            return None
        image.seek(index)
        return frame_values(image)


_COUNTERS = {'dicom': count_dicom_frames, 'tiff': count_tiff_frames}
_READERS = {'array': _read_array, 'dicom': read_dicom_frame, 'tiff': read_tiff_frame,
            'picture': _read_picture}
