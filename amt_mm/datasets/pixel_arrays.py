"""Read the values of an image file as they are stored: any number of channels, any depth."""

from __future__ import annotations

import io
import math
import zipfile
from pathlib import PurePath
from typing import IO

import cv2
import numpy as np
from PIL import Image, ImageSequence

from amt_mm.errors import InputError

from .dicom import DICOM, is_dicom, read_dicom
from .loading import refuse_bomb, refuse_many_values
from .open_picture import exif_orientation, open_picture, upright
from .png_texts import PNG, without_texts
from .tiff import TIFF, oriented, read_tiff

NUMPY = ('.npy', '.npz')
# Formats that Pillow reads with 8 bits where they have more, and OpenCV as they are.
_DEEP = (PNG, b'\x00\x00\x00\x0cjP  ', b'P5', b'P6')
# One of these is in every PNG with an orientation: EXIF, EXIF as text, XMP.
_PNG_TURNED = (b'eXIf', b'Raw profile type exif', b'XML:com.adobe.xmp')
# By the colour type of a PNG, its channels among those of OpenCV: one of grey, else BGR or BGRA.
_PNG_CHANNELS = {0: [0], 2: [2, 1, 0], 4: [0, 3], 6: [2, 1, 0, 3]}
_LONGEST_HEADER = 1 << 20  # bytes, of an array's description
_NPY_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0,
                (2, 0): np.lib.format.read_array_header_2_0}


def read_pixels(content: bytes, path: str, pages: str | int | None = None,
                channel_axis: int | None = None) -> np.ndarray:
    """Read the values of an image file.

    - TIFF by tifffile. Samples of a pixel and axes named C are channels; whatever else there is
      other than rows and columns (pages, slices, times) are pages. The orientation is applied and
      colour maps are converted to RGB, except those of microscopes. High values are bright: if the
      lowest is white, all are inverted. Missing pixels, of the value that GDAL's tag names, are NaN
      (in 8 bits, that value).
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
        ``(H, W, C)`` of the type that the file has (floating point if it marks missing pixels);
        colours in the order RGB.

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
        array = read_dicom(content)
    elif content.startswith(TIFF):
        array = read_tiff(content)
    else:
        array = _read_picture(content)
    return _one_image(array, pages, path)


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
    array = np.moveaxis(array, channel_axis, 2)
    refuse_bomb(*array.shape[:2])
    return array


def load_array(file: IO[bytes]) -> np.ndarray:
    """Read an array of ``.npy`` without code, after a look at its size."""
    # A header may claim to go on for 4 GB, and its type that an entry takes as much.
    start = io.BytesIO(file.read(_LONGEST_HEADER))
    version = np.lib.format.read_magic(start)
    if version not in _NPY_HEADERS:
        raise ValueError(f'an array in version {version} of .npy, which no array of numbers has')
    shape, _, dtype = _NPY_HEADERS[version](start)
    refuse_many_values(math.prod(shape), dtype.itemsize)
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


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
        return oriented(array[..., _PNG_CHANNELS[content[25]]], _png_orientation(content))
    # OpenCV has blue first.
    return array[..., [2, 1, 0, 3][:array.shape[3]]] if array.shape[3] > 2 else array


def _png_orientation(content: bytes) -> int:
    # Pillow decodes the image to find the chunks behind its pixels.
    if not any(word in content for word in _PNG_TURNED):
        return 1
    with Image.open(io.BytesIO(content)) as image:
        return exif_orientation(image)


def frame_values(image: Image.Image) -> np.ndarray:
    """Return the frame at which an image stands, ``(H, W, C)``, upright and without a palette."""
    image = upright(image)
    if image.mode == '1':
        image = image.convert('L')
    elif image.mode in ('P', 'PA'):
        image = image.convert('RGBA' if 'transparency' in image.info or image.mode == 'PA'
                              else 'RGB')
    array = np.asarray(image)
    return array.reshape(*array.shape[:2], -1)
