"""Read the values of an image file as they are stored: any number of channels, any depth."""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import PurePath
from typing import IO, TYPE_CHECKING

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps, ImageSequence

from amt_mm.errors import InputError

from .download.unpacking import most_unpacked
from .loading import refuse_bomb
from .ome_planes import refuse_claims
from .open_picture import open_picture
from .optional_packages import optional
from .png_texts import PNG, without_texts

if TYPE_CHECKING:
    from pydicom import Dataset
    from tifffile import TiffPage, TiffPageSeries

NUMPY = ('.npy', '.npz')
DICOM = ('.dcm', '.dicom', '.ima')
TIFF = (b'II*\x00', b'MM\x00*', b'II+\x00', b'MM\x00+')
# Formats that Pillow reads with 8 bits where they have more, and OpenCV as they are.
_DEEP = (PNG, b'\x00\x00\x00\x0cjP  ', b'P5', b'P6')
# One of these is in every PNG with an orientation: EXIF, EXIF as text, XMP.
_PNG_TURNED = (b'eXIf', b'Raw profile type exif', b'XML:com.adobe.xmp')
# By the colour type of a PNG, its channels among those of OpenCV: one of grey, else BGR or BGRA.
_PNG_CHANNELS = {0: [0], 2: [2, 1, 0], 4: [0, 3], 6: [2, 1, 0, 3]}
# By orientation, the steps through rows and columns, after which 5 to 8 are transposed.
_STEPS = {2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (-1, 1), 7: (-1, -1), 8: (1, -1)}
# TIFF: a tag, kinds of its photometric interpretation, and tifffile's kinds of series of pages that
# no microscope wrote.
_ORIENTATION = 274
_MIN_IS_WHITE, _PALETTE = 0, 3
_PLAIN_SERIES = ('generic', 'shaped', 'uniform')
_NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0}
# Bytes unpacked at once.
_BLOCK = 1 << 20
# Letters of tifffile for samples of a pixel and for channels.
CHANNEL_AXES = 'SC'


def read_pixels(content: bytes, path: str, pages: str | int | None = None,
                channel_axis: int | None = None) -> np.ndarray:
    """Read the values of an image file.

    - TIFF by tifffile. Samples of a pixel and axes named C are channels; whatever else there is
      other than rows and columns (pages, slices, times) are pages. The orientation is applied and
      colour maps are converted to RGB, except those of microscopes. High values are bright: if the
      lowest is white, all are inverted.
    - ``.npy`` and ``.npz`` (with one array) of ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)``.
    - DICOM by pydicom, its rescale slope and intercept (or table) applied, frames as pages.
      MONOCHROME1 is turned into MONOCHROME2: high values are bright. Palettes are converted to RGB.
    - All others by Pillow, or OpenCV where Pillow reduces the depth. The EXIF orientation is
      applied, palettes are converted to RGB; alpha is a channel like others. Frames of an
      animation are pages.

    Args:
        content: Of the file.
        path: Of the file; its extension tells arrays and DICOM.
        pages: ``'channels'`` if pages are the channels of one image, or the index of the page to
            read. Defaults to None: the file must have one page.
        channel_axis: Axis of the channels in arrays, 0 or -1. Defaults to None: the shortest of
            the two.

    Returns:
        ``(H, W, C)`` of the type that the file has; colours in the order RGB.

    Raises:
        InputError: A package is missing, or it is unclear what the pages are.
        Exception: Of any type, with the reason why the content cannot be decoded.
    """
    if not content:
        raise ValueError('the file is empty')
    suffix = PurePath(path).suffix.lower()
    if suffix in NUMPY:
        return _read_array(content, suffix, channel_axis)
    if suffix in DICOM or is_dicom(content):
        array = _read_dicom(content)
    elif content.startswith(TIFF):
        array = _read_tiff(content)
    else:
        array = _read_picture(content)
    return _one_image(array, pages, path)


def is_dicom(start: bytes) -> bool:
    """Whether these are the first bytes of a DICOM file, whatever its extension."""
    return start[128:132] == b'DICM'


def _one_image(array: np.ndarray, pages: str | int | None, path: str) -> np.ndarray:
    """Reduce ``(pages, H, W, C)`` to ``(H, W, C)``."""
    count = len(array)
    if count == 1 and not isinstance(pages, int):
        return array[0]
    if pages == 'channels':
        return np.concatenate(list(array), axis=2)
    if pages is None:
        raise InputError(f'{path}: has {count} pages (or frames): set pixels.pages (of `amt '
                         "statistics`: --pages) to 'channels' if they are the channels of one "
                         "image, to 'frames' if each is an image, or to the index of the page to "
                         'read, from 0')
    if pages not in range(count):
        raise InputError(f'{path}: has {count} pages, so there is none of index {pages} '
                         '(pixels.pages)')
    return array[pages]


def _read_array(content: bytes, suffix: str, channel_axis: int | None) -> np.ndarray:
    file = io.BytesIO(content)
    if suffix == '.npz':
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            if len(names) != 1:
                raise ValueError(f'it has {len(names)} arrays ({", ".join(names[:4])}), not one')
            with archive.open(names[0]) as member:
                array = load_array(member)
    else:
        array = load_array(file)
    return array_values(array, channel_axis)


def array_values(array: np.ndarray, channel_axis: int | None = None) -> np.ndarray:
    """Return an array of ``(H, W)``, ``(H, W, C)`` or ``(C, H, W)`` as ``(H, W, C)``."""
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.dtype.kind not in 'uif':
        raise ValueError(f'an array of {array.dtype} and shape {array.shape} is not an '
                         'image: give numbers of shape (H, W), (H, W, C) or (C, H, W)')
    if channel_axis is None:
        channel_axis = 0 if array.shape[0] < array.shape[2] else -1
    return np.moveaxis(array, channel_axis, 2)


def load_array(file: IO[bytes]) -> np.ndarray:
    """Read an array of ``.npy`` without code, after a look at its size."""
    # A header may claim to go on for 4 GB, and its type that an entry takes as much.
    start = io.BytesIO(file.read(_BLOCK))
    version = np.lib.format.read_magic(start)
    if version not in _NPY_HEADERS:
        raise ValueError(f'an array in version {version} of .npy, which no array of numbers has')
    shape, _, dtype = _NPY_HEADERS[version](start)
    refuse_bomb(max(dtype.itemsize // 8, 1), math.prod(shape))
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _read_tiff(content: bytes) -> np.ndarray:
    tifffile = optional('tifffile', 'TIFF files with these pixels')
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        refuse_claims(file)
        series = file.series
        shapes = {entry.shape for entry in series}
        if not series:
            raise ValueError('a TIFF without images')
        refuse_bomb(1, sum(entry.size for entry in series))
        try:
            arrays = [displayed(by_page(entry.asarray(), entry.axes), entry, entry.pages)
                      for entry in series]
        except Exception as error:
            # Codecs that tifffile lacks are errors of several types.
            if 'imagecodecs' in str(error):
                optional('imagecodecs', 'TIFF files of this compression')
            raise
    if len(shapes) > 1:
        raise ValueError(f'its pages have different shapes: {sorted(shapes)}')
    return np.concatenate(arrays)


def by_page(array: np.ndarray, axes: str) -> np.ndarray:
    """Order the axes of a TIFF as ``(pages, H, W, C)``."""
    if not {'Y', 'X'} <= set(axes):
        raise ValueError(f'a TIFF of axes {axes} is not an image')
    channels = [i for i, letter in enumerate(axes) if letter in CHANNEL_AXES]
    pages = [i for i, letter in enumerate(axes) if letter not in 'YX' + CHANNEL_AXES]
    array = array.transpose(*pages, axes.index('Y'), axes.index('X'), *channels)
    height, width = array.shape[len(pages):len(pages) + 2]
    # Empty products are 1.
    return array.reshape(math.prod(array.shape[:len(pages)]), height, width, -1)


def displayed(array: np.ndarray, series: TiffPageSeries, pages: Iterable[TiffPage | None]
              ) -> np.ndarray:
    """Apply what a TIFF says of showing its values, as Pillow does.

    The colour maps of microscopes, such as ImageJ's, only tint what was measured: they are left
    out.

    Args:
        array: ``(pages, H, W, C)``.
        series: Of the file.
        pages: Those of the series that the values are of; None is a missing one.

    Raises:
        ValueError: Pages have different orientations or colour maps.
    """
    page = series.keyframe
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
        array[grey] = _inverted(array[grey], max(page.bitspersample, 8))
    # Writers of stacks may tell it in the first page alone.
    first = page.tags.valueof(_ORIENTATION, 1)
    turned = {page.aspage().tags.valueof(_ORIENTATION, first) for page in pages if page is not None}
    if len(turned) > 1:
        raise ValueError('its pages have different orientations')
    return _oriented(array, *turned or (first,))


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


def _inverted(array: np.ndarray, bits: int) -> np.ndarray:
    """Swap the lowest and the highest integer of this many bits."""
    return (-1 if array.dtype.kind == 'i' else 2**bits - 1) - array


def open_dicom(file: IO[bytes], **options) -> Dataset:
    """Read DICOM, after a look at how much a deflated file unpacks to.

    Args:
        file: At its beginning.
        **options: Of ``pydicom.dcmread``.

    Raises:
        ValueError: More than an archive may.
        Exception: Of any type, with the reason why the file cannot be read.
    """
    pydicom = optional('pydicom', 'DICOM files')
    from pydicom.filereader import read_dataset, read_preamble
    read_preamble(file, force=False)
    # The group of the format itself is never deflated.
    kind = read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2)
    if kind.get('TransferSyntaxUID') == pydicom.uid.DeflatedExplicitVRLittleEndian:
        _refuse_inflated(file)
    file.seek(0)
    return pydicom.dcmread(file, **options)


def _refuse_inflated(file: IO[bytes]) -> None:
    start = file.tell()
    left = most_unpacked(file.seek(0, io.SEEK_END) - start)
    file.seek(start)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    while block := file.read(_BLOCK):
        while block:
            left -= len(inflater.decompress(block, _BLOCK))
            block = inflater.unconsumed_tail
            if left < 0:
                raise ValueError('deflated, and unpacks to more than a hundred times its size')


def _read_dicom(content: bytes) -> np.ndarray:
    dataset = open_dicom(io.BytesIO(content))
    from pydicom.pixels import pixel_array
    if 'PixelData' not in dataset:
        raise ValueError('a DICOM file without pixels')
    frames = int(dataset.get('NumberOfFrames') or 1)
    refuse_bomb(dataset.Rows * frames, dataset.Columns)
    # RGB also where the file has luma and chroma.
    return dicom_values(pixel_array(dataset), dataset, frames)


def dicom_values(array: np.ndarray, dataset: Dataset, frames: int) -> np.ndarray:
    """Return stored values in the units of the file, ``(frames, H, W, C)``, bright ones high."""
    from pydicom.pixels import apply_color_lut, apply_modality_lut
    if dataset.PhotometricInterpretation == 'MONOCHROME1':
        array = _inverted(array, dataset.BitsStored)
    samples = dataset.SamplesPerPixel
    if dataset.PhotometricInterpretation == 'PALETTE COLOR':
        array, samples = apply_color_lut(array, dataset), 3
    elif samples == 1:
        array = apply_modality_lut(array, dataset)
    return array.reshape(frames, dataset.Rows, dataset.Columns, samples)


def _read_picture(content: bytes) -> np.ndarray:
    with open_picture(io.BytesIO(content)) as image:
        frames = getattr(image, 'n_frames', 1)
        refuse_bomb(image.height * frames, image.width)
        array = _read_deep(content)
        if array is None:
            return np.stack([frame_values(frame) for frame in ImageSequence.Iterator(image)])
    if frames > 1:
        raise ValueError('an animation of more than 8 bits')
    return array


def _read_deep(content: bytes) -> np.ndarray | None:
    """Read a picture of more than 8 bits, ``(1, H, W, C)``, by OpenCV; None of any other."""
    if not content.startswith(_DEEP):
        return None
    shown = without_texts(content) if content.startswith(PNG) else content
    array = cv2.imdecode(np.frombuffer(shown, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype == np.uint8:
        return None
    array = array.reshape(1, *array.shape[:2], -1)
    if content.startswith(PNG):
        return _oriented(array[..., _PNG_CHANNELS[content[25]]], _png_orientation(content))
    # OpenCV has blue first.
    return array[..., [2, 1, 0, 3][:array.shape[3]]] if array.shape[3] > 2 else array


def _png_orientation(content: bytes) -> int:
    # Pillow decodes the image to find the chunks behind its pixels.
    if not any(word in content for word in _PNG_TURNED):
        return 1
    with Image.open(io.BytesIO(content)) as image:
        return image.getexif().get(ExifTags.Base.Orientation, 1)


def _oriented(array: np.ndarray, orientation: int) -> np.ndarray:
    """Turn ``(pages, H, W, C)`` as an orientation of EXIF or TIFF, from 1 to 8, says."""
    rows, columns = _STEPS.get(orientation, (1, 1))
    array = array[:, ::rows, ::columns]
    return array.swapaxes(1, 2) if orientation in (5, 6, 7, 8) else array


def frame_values(image: Image.Image) -> np.ndarray:
    """Return the frame at which an image stands, ``(H, W, C)``, upright and without a palette."""
    image = ImageOps.exif_transpose(image)
    if image.mode == '1':
        image = image.convert('L')
    elif image.mode in ('P', 'PA'):
        image = image.convert('RGBA' if 'transparency' in image.info or image.mode == 'PA'
                              else 'RGB')
    array = np.asarray(image)
    return array.reshape(*array.shape[:2], -1)
