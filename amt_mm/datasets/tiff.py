"""Read the values of TIFF files by tifffile, whole or frame by frame."""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from .loading import refuse_bomb, refuse_many_values
from .ome_planes import refuse_claims
from .optional_packages import optional

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage, TiffPageSeries

TIFF = (b'II*\x00', b'MM\x00*', b'II+\x00', b'MM\x00+')
# By orientation, the steps through rows and columns, after which 5 to 8 are transposed.
_STEPS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (-1, 1), 7: (-1, -1), 8: (1, -1)}
# Tags (GDAL's for the value of missing pixels), kinds of the photometric interpretation, and
# tifffile's kinds of series of pages that no microscope wrote.
_ORIENTATION, _NODATA = 274, 42113
_MIN_IS_WHITE, _PALETTE, _YCBCR, _LAB = 0, 3, 6, (8, 9, 10)
# Compressions whose decoder returns luma and chroma as RGB.
_JPEG = (6, 7, 33007, 34892)
_PLAIN_SERIES = ('generic', 'shaped', 'uniform')
# Letters of tifffile for samples of a pixel and for channels.
_CHANNEL_AXES = 'SC'


def read_tiff(content: bytes) -> np.ndarray:
    """Read all pages, ``(pages, H, W, C)``."""
    with _open_tiff(io.BytesIO(content)) as file:
        series = file.series
        shapes = {entry.shape for entry in series}
        if not series:
            raise ValueError('a TIFF without images')
        _refuse_bombs(series, sum(entry.size for entry in series))
        try:
            arrays = [_displayed(_by_page(entry.asarray(), entry.axes), entry, entry.pages)
                      for entry in series]
        except Exception as error:
            # Codecs that tifffile lacks are errors of several types.
            if 'imagecodecs' in str(error):
                optional('imagecodecs', 'TIFF files of this compression')
            raise
    if len(shapes) > 1:
        raise ValueError(f'its pages have different shapes: {sorted(shapes)}')
    return np.concatenate(arrays)


def count_tiff_frames(path: str) -> int:
    """Number of frames over all axes but rows, columns and channels."""
    with _open_tiff(path) as file:
        shapes = {entry.shape for entry in file.series}
        if len(shapes) > 1:
            raise ValueError(f'its pages have different shapes: {sorted(shapes)}')
        return sum(math.prod(_outer(entry)[0]) for entry in file.series)


def read_tiff_frame(path: str, index: int) -> np.ndarray | None:
    """Read one frame, ``(H, W, C)``; None if there is no such frame."""
    with _open_tiff(path) as file:
        for series in file.series:
            shape, frames = _outer(series)
            count = math.prod(shape)
            if index < count:
                break
            index -= count
        else:
            return None
        _refuse_bombs([series], series.size // count)
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
        return _displayed(_by_page(np.array(array, series.dtype), ''.join(axes)), series,
                          [series.keyframe] if pages is None else pages.ravel())[0]


def _open_tiff(file: str | BinaryIO) -> TiffFile:
    """Open a TIFF; each file of an OME data set has its own frames."""
    opened = optional('tifffile', 'TIFF files with these pixels').TiffFile(file, _multifile=False)
    refuse_claims(opened)
    return opened


def _refuse_bombs(series: Sequence[TiffPageSeries], count: int) -> None:
    """Refuse implausible sizes of pages, and more values than can be read at once."""
    for entry in series:
        refuse_bomb(entry.keyframe.imagelength, entry.keyframe.imagewidth)
    refuse_many_values(count, max(entry.dtype.itemsize for entry in series))


def _outer(series: TiffPageSeries) -> tuple[tuple[int, ...], list[int]]:
    """Sizes of the axes over which frames are counted, and their places."""
    frames = [i for i, letter in enumerate(series.axes) if letter not in 'YX' + _CHANNEL_AXES]
    return tuple(series.shape[i] for i in frames), frames


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


def _by_page(array: np.ndarray, axes: str) -> np.ndarray:
    """Order the axes of a TIFF as ``(pages, H, W, C)``."""
    if not {'Y', 'X'} <= set(axes):
        raise ValueError(f'a TIFF of axes {axes} is not an image')
    channels = [i for i, letter in enumerate(axes) if letter in _CHANNEL_AXES]
    pages = [i for i, letter in enumerate(axes) if letter not in 'YX' + _CHANNEL_AXES]
    array = array.transpose(*pages, axes.index('Y'), axes.index('X'), *channels)
    height, width = array.shape[len(pages):len(pages) + 2]
    # Empty products are 1.
    return array.reshape(math.prod(array.shape[:len(pages)]), height, width, -1)


def _displayed(array: np.ndarray, series: TiffPageSeries, pages: Iterable[TiffPage | None]
              ) -> np.ndarray:
    """Apply what a TIFF says of showing its values, as Pillow does.

    The colour maps of microscopes, such as ImageJ's, only tint what was measured: they are left
    out. Missing pixels become NaN, for which integers become floating point numbers.

    Args:
        array: ``(pages, H, W, C)``.
        series: Of the file.
        pages: Those of the series that the values are of; None is a missing one.

    Raises:
        ValueError: Pages have different orientations or colour maps, or colours are not RGB.
    """
    page = series.keyframe
    if page.photometric in _LAB or page.photometric == _YCBCR and page.compression not in _JPEG:
        raise ValueError(f'a TIFF of {page.photometric.name} colours, which are not converted: '
                         'save it as RGB')
    missing = _missing(array, page)
    if page.photometric == _PALETTE:
        if series.kind in _PLAIN_SERIES:
            array = _coloured(array, series)
    elif page.bitspersample < 8:
        array = array.astype(np.uint8) * (255 // (2**page.bitspersample - 1))
    if page.photometric == _MIN_IS_WHITE:
        if array.dtype.kind not in 'ui':
            raise ValueError(f'a TIFF of {array.dtype} whose lowest value is white: the value of '
                             'black is unknown')
        # Other samples of a pixel are not grey.
        grey = np.s_[..., ::page.samplesperpixel]
        array[grey] = inverted(array[grey], max(page.bitspersample, 8))
    # 8 bits have no NaN, and remain photographs.
    if missing is not None and array.dtype != np.uint8:
        array = array.astype(np.result_type(array.dtype, np.float32))
        array[missing] = np.nan
    # Writers of stacks may tell it in the first page alone.
    first = page.tags.valueof(_ORIENTATION, 1)
    turned = {page.aspage().tags.valueof(_ORIENTATION, first) for page in pages if page is not None}
    if len(turned) > 1:
        raise ValueError('its pages have different orientations')
    return oriented(array, *turned or (first,))


def _missing(array: np.ndarray, page: TiffPage) -> np.ndarray | None:
    """Where the values are that mark missing pixels; None if the page names no such value."""
    try:
        # tifffile's own `nodata` refuses the lowest float32 as GDAL writes it.
        value = float(page.tags.valueof(_NODATA, ''))
    except (TypeError, ValueError):
        return None
    with np.errstate(over='ignore'):
        return array == value


def _coloured(array: np.ndarray, series: TiffPageSeries) -> np.ndarray:
    """Replace indices, ``(pages, H, W, 1)``, by the 8-bit RGB of their colour map."""
    if series.keyframe.colormap is None:
        raise ValueError('a palette without its colour map')
    maps = {page.aspage().colormap.tobytes() for page in series.pages}
    if len(maps) > 1 or array.shape[3] > 1:
        raise ValueError('its pages have different colour maps, or its pixels have several samples')
    # (3, number of colours), of 16 bits.
    colours = series.keyframe.colormap >> 8
    return colours.astype(np.uint8).T[array[..., 0]]


def inverted(array: np.ndarray, bits: int) -> np.ndarray:
    """Swap the lowest and the highest integer of this many bits."""
    return (-1 if array.dtype.kind == 'i' else 2**bits - 1) - array


def oriented(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turn ``(pages, H, W, C)`` as an orientation of EXIF or TIFF, from 1 to 8, says."""
    rows, columns = _STEPS.get(orientation, (1, 1))
    array = array[:, ::rows, ::columns]
    return array.swapaxes(1, 2) if orientation in (5, 6, 7, 8) else array
