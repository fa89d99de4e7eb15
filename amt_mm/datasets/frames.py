"""Frames of one file as images of their own: ``scan.tif#12`` is the frame of index 12."""

from __future__ import annotations

import math
import os
import re
from pathlib import PurePath
from typing import TYPE_CHECKING

import numpy as np
from mmengine import fileio

from amt_mm.errors import InputError

from .loading import refuse_bomb
from .ome_planes import refuse_claims
from .open_picture import open_picture
from .optional_packages import optional
from .pixel_arrays import (
    CHANNEL_AXES,
    DICOM,
    NUMPY,
    TIFF,
    array_values,
    by_page,
    dicom_values,
    displayed,
    frame_values,
    is_dicom,
    open_dicom,
)

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPageSeries

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
        except (InputError, MemoryError):
            raise
        except Exception:  # decoders raise anything on broken bytes
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
    if kind == 'dicom':
        with open(path, 'rb') as file:
            tags = open_dicom(file, stop_before_pixels=True, specific_tags=['NumberOfFrames'])
        count = int(tags.get('NumberOfFrames') or 1)
    elif kind == 'tiff':
        with _open_tiff(path) as file:
            shapes = {entry.shape for entry in file.series}
            if len(shapes) > 1:
                raise ValueError(f'its pages have different shapes: {sorted(shapes)}')
            count = sum(math.prod(_outer(entry)[0]) for entry in file.series)
    else:
        with open(path, 'rb') as file, open_picture(file) as image:
            count = getattr(image, 'n_frames', 1)
    return count if count > 1 else None


def _open_tiff(path: str) -> TiffFile:
    tifffile = optional('tifffile', 'TIFF files with these pixels')
    # Each file of an OME data set lists its own frames only.
    file = tifffile.TiffFile(path, _multifile=False)
    refuse_claims(file)
    return file


def _outer(series: TiffPageSeries) -> tuple[tuple[int, ...], list[int]]:
    """Sizes of the axes over which frames are counted, and their places."""
    frames = [i for i, letter in enumerate(series.axes) if letter not in 'YX' + CHANNEL_AXES]
    return tuple(series.shape[i] for i in frames), frames


def _read_array(path: str, index: int) -> np.ndarray | None:
    array = np.load(path, mmap_mode='r', allow_pickle=False)
    if index >= len(array):
        return None
    # Entries of no bytes make a file of any shape.
    refuse_bomb(1, array[index].size)
    return array_values(np.array(array[index]), -1)


def _read_picture(path: str, index: int) -> np.ndarray | None:
    with open(path, 'rb') as file, open_picture(file) as image:
        if index >= getattr(image, 'n_frames', 1):
            return None
        image.seek(index)
        return frame_values(image)


def _read_dicom(path: str, index: int) -> np.ndarray | None:
    with open(path, 'rb') as file:
        dataset = open_dicom(file, stop_before_pixels=True)
    from pydicom.pixels import pixel_array
    if index >= int(dataset.get('NumberOfFrames') or 1):
        return None
    refuse_bomb(dataset.Rows, dataset.Columns)
    return dicom_values(pixel_array(path, index=index), dataset, 1)[0]


def _read_tiff(path: str, index: int) -> np.ndarray | None:
    with _open_tiff(path) as file:
        for series in file.series:
            shape, frames = _outer(series)
            count = math.prod(shape)
            if index < count:
                break
            index -= count
        else:
            return None
        refuse_bomb(1, series.size // count)
        place: list = [slice(None)] * series.ndim
        for axis, at in zip(frames, np.unravel_index(index, shape) if shape else (), strict=True):
            place[axis] = int(at)
        # Not compressed and in one piece, or page by page.
        array = (_read_pages(series, place) if series.dataoffset is None else
                 file.filehandle.memmap_array(file.byteorder + series.dtype.char, series.shape,
                                              series.dataoffset)[tuple(place)])
        axes = [letter for letter, at in zip(series.axes, place, strict=True)
                if isinstance(at, slice)]
        pages = _pages(series, place)
        return displayed(by_page(np.array(array, series.dtype), ''.join(axes)), series,
                         [series.keyframe] if pages is None else pages.ravel())[0]


def _read_pages(series: TiffPageSeries, place: list) -> np.ndarray:
    """Decode the pages of a frame: several where channels are pages."""
    pages = _pages(series, place)
    if pages is None:
        raise ValueError(f'pages of shape {series.keyframe.shape} of a TIFF of {series.shape} '
                         f'({series.axes}) cannot be read one by one')
    if None in pages:
        raise ValueError('a page of this frame is missing')
    values = np.stack([page.asarray() for page in pages.ravel()])
    inner = series.ndim - len(series.keyframe.shape)
    return values.reshape(*pages.shape, *values.shape[1:])[(..., *place[inner:])]


def _pages(series: TiffPageSeries, place: list) -> np.ndarray | None:
    """The pages of a frame, one for each place of the axes that are pages; None if unclear."""
    inner = series.ndim - len(series.keyframe.shape)
    outer = series.shape[:inner]
    if series.shape[inner:] != series.keyframe.shape or len(series.pages) != math.prod(outer):
        return None
    numbers = np.arange(len(series.pages)).reshape(outer)[tuple(place[:inner])]
    pages = np.empty(numbers.shape, object)
    for at in np.ndindex(numbers.shape):
        pages[at] = series.pages[int(numbers[at])]
    return pages


_READERS = {'array': _read_array, 'dicom': _read_dicom, 'tiff': _read_tiff,
            'picture': _read_picture}
