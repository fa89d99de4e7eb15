"""Load image files of any common kind as 8-bit BGR, or fail with a one-line reason."""

from __future__ import annotations

import io
import os.path as osp
from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from PIL import Image, ImageOps, UnidentifiedImageError

from amt_mm.errors import InputError, UnreadableImage
from amt_mm.printable import one_line
from amt_mm.registry import TRANSFORMS

from .jpeg_header import read_jpeg_header
from .open_picture import as_stored, open_picture, upright
from .optional_packages import MissingPackage
from .png_texts import PNG, without_texts
from .unclear_pixels import (
    UnclearPixelsError,
    high_byte,
    refuse_unclear_tiff,
    unknown_tiff,
    value_range,
)
from .unreadable import is_shortage, want_of_memory

_TIFF = (b'II*\x00', b'MM\x00*')
# PNG chunks that some versions of OpenCV ignore.
_PNG_SPECIAL = (b'tRNS', b'acTL', b'eXIf')
_ALPHA_MODES = ('LA', 'La', 'PA', 'RGBA', 'RGBa')
_INT16_MODES = ('I;16', 'I;16L', 'I;16B', 'I;16N')
# OpenCV decodes a JPEG at one part in so many; the smallest image comes first.
REDUCED_JPEG = {8: cv2.IMREAD_REDUCED_COLOR_8, 4: cv2.IMREAD_REDUCED_COLOR_4,
                2: cv2.IMREAD_REDUCED_COLOR_2, 1: cv2.IMREAD_COLOR}
# Tags of a TIFF: bits of each sample, and whether its lowest value is white (0).
_BITS, _PHOTOMETRIC = 258, 262
# Deep images whose high bytes stay below use 14 bits at most.
_DARK = 64
# What reads such files.
_HOW = '`amt statistics FOLDER` finds out how to read it (docs/own_images.md)'


# mmdet's DetInferencer finds the loader that it replaces by the second name.
@TRANSFORMS.register_module(name=['LoadImage', 'LoadImageFromFile'])
class LoadImage(LoadImageFromFile):
    """Load an image file of any common kind as ``uint8`` BGR of shape ``(H, W, 3)``.

    Plain JPEG and PNG files are decoded by OpenCV as in the parent, with the same pixels and
    speed, all others by Pillow, because OpenCV turns alpha black, clips or refuses deep images
    and, depending on its version, returns the readable part of truncated files:

    - The EXIF orientation is applied.
    - Alpha, also of a palette or a transparent colour, is composited on white.
    - 16-bit channels are reduced to their high byte (as Pillow does for RGB).
    - CMYK is converted to RGB by Pillow, without a colour profile.
    - The first frame of an animation is used.
    - HEIC is read where pillow-heif is installed.

    What is ambiguous is refused, see :class:`~amt_mm.datasets.LoadPixels`: pages and
    samples of a TIFF that are neither colours nor alpha, floating point values and signed or 32-bit
    integers, whose range is unknown, and 16-bit images that use 14 bits or fewer, whose high bytes
    would be nearly black.

    A JPEG with a gap in its data but a proper end looks valid to both decoders, and is read.

    Samples that already have ``img`` (such as CIFAR's) pass, and ``img_bytes`` (of
    :class:`PackedImages`) replaces reading the file, so one pipeline serves all data sets.

    If the sample gives the ``height`` and ``width`` that its boxes and masks are for, the image
    must have them. One that has them only as stored, before the EXIF orientation, was labelled so
    and is not turned. (A half turn and a turn of a square image leave the size as it is: such an
    image is turned like all others.)

    Required keys: ``img_path`` (with or without ``img_bytes``) or ``img``. Optional keys:
    ``height`` and ``width``. Added keys: ``img``, ``img_shape``, ``ori_shape`` (both
    ``(height, width)``, of ``img``).

    Args:
        to_float32: Return ``float32``, still in 0..255. Defaults to False, as transforms and
            collation are several times cheaper on ``uint8``.
        ignore_empty: Return None for unreadable files, which a training data set replaces by a
            random sample. Defaults to False: nothing is replaced silently.
        backend_args: Of the MMEngine file backend. Defaults to None: inferred from the path.

    Raises:
        UnreadableImage: Names the file and why it cannot be read: missing, empty, truncated, not
            an image, or larger than 179 million pixels (Pillow's limit), which would exhaust the
            memory.
        InputError: The image is not an 8-bit photograph, so its values are ambiguous, or has
            another size than its labels are for, or memory does not suffice to decode it.
    """

    def __init__(self, to_float32: bool = False, ignore_empty: bool = False, *,
                 backend_args: dict | None = None) -> None:
        super().__init__(
            to_float32=to_float32, ignore_empty=ignore_empty, backend_args=backend_args)

    def transform(self, results: dict) -> dict | None:
        """Load the image; None if it is unreadable and ``ignore_empty`` is set."""
        image = results.get('img')
        if image is None:
            with want_of_memory(results['img_path']):
                image = self._read(results)
            if image is None:
                return None
        if self.to_float32:
            image = image.astype(np.float32)
        results['img'] = image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

    def _read(self, results: dict) -> np.ndarray | None:
        path, content = results['img_path'], results.pop('img_bytes', None)
        # Decoders raise anything on broken bytes (IndexError, struct.error, SyntaxError, ...).
        try:
            if content is None:
                content = self._get(path)
            image = self._decode(content, path)
            if {'height', 'width'} <= results.keys():
                size = results['height'], results['width']
                if image.shape[:2] != size:
                    return self._as_labelled(image, content, size, path)
            return image
        except MissingPackage as error:
            raise InputError(f'{one_line(path)}: {error}') from error
        except InputError:  # not caused by the file
            raise
        except UnclearPixelsError as error:
            raise InputError(f'{one_line(path)}: {error}; {_HOW}') from error
        except Exception as error:
            if is_shortage(error):
                raise
            if self.ignore_empty:
                return None
            raise UnreadableImage(f'{one_line(path)}: unreadable image: '
                                  f'{unreadable_reason(error)}. '
                                  'Replace or remove the file.') from error

    def _get(self, path: str) -> bytes | memoryview:
        refuse_pipe(path)
        return fileio.get(path, backend_args=self.backend_args)

    def _decode(self, content: bytes | memoryview, path: str) -> np.ndarray:
        return decode_image(bytes(content))

    def _as_labelled(self, image: np.ndarray, content: bytes | memoryview, size: tuple[int, int],
                     path: str) -> np.ndarray:
        """Return the image as stored if that is the size of its labels."""
        stored = decode_image(bytes(content), turned=False)
        if stored.shape[:2] != size:
            raise InputError(f'{path}: has {format_sizes(image.shape, stored.shape)}, but its '
                             f'labels are for {size[0]} x {size[1]} (height x width)')
        return stored


def decode_image(content: bytes, turned: bool = True, least: int | None = None) -> np.ndarray:
    """Decode the content of an image file as :class:`LoadImage` describes.

    Args:
        content: Of the file.
        turned: Whether to apply the EXIF orientation.
        least: A JPEG is decoded at 1/2, 1/4 or 1/8 of its size, by the decoder's cosine transform,
            as long as its shorter side remains this long. Defaults to None: in full size.

    Returns:
        Contiguous ``uint8`` BGR array of shape ``(H, W, 3)``.

    Raises:
        UnclearPixelsError: It is ambiguous what the values are.
        Exception: Of any type, with the reason why the content cannot be decoded.
    """
    if not content:
        raise ValueError('the file is empty')
    header = read_jpeg_header(content)
    if header is not None or _is_plain_png(content):
        # From the header of the JPEG or the PNG.
        refuse_bomb(*((header.height, header.width) if header else
                      (int.from_bytes(content[i:i + 4], 'big') for i in (20, 16))))
        flags = next((flag for parts, flag in REDUCED_JPEG.items() if header and least
                      and min(header.height, header.width) >= parts * least), cv2.IMREAD_COLOR)
        flags |= 0 if turned else cv2.IMREAD_IGNORE_ORIENTATION
        shown = content if header else without_texts(content)
        image = cv2.imdecode(np.frombuffer(shown, np.uint8), flags)
        if image is not None:
            return image
    try:
        image = open_picture(io.BytesIO(content))
    except UnidentifiedImageError:
        if content.startswith(_TIFF):
            raise UnclearPixelsError(unknown_tiff(content)) from None
        raise
    with image:
        if image.format == 'TIFF':
            refuse_unclear_tiff(image)
        # The transposed image does not keep its format.
        file_format = image.format
        deep = (content.startswith(PNG) and content[24] == 16
                or file_format == 'TIFF' and max(image.tag_v2.get(_BITS, (8, ))) == 16)
        white_is_low = file_format == 'TIFF' and image.tag_v2.get(_PHOTOMETRIC, 0) == 0
        image = upright(image) if turned else as_stored(image)
        if image.mode == 'F':
            raise UnclearPixelsError(f'{value_range(image)}, not of 8 bits')
        rgb = image
        if image.mode in _INT16_MODES or image.mode == 'I':
            rgb, deep = high_byte(image, file_format), True
        if deep and (most := int(np.asarray(rgb.convert('RGB')).max())) < _DARK:
            raise UnclearPixelsError(f'has 16 bits, but its values stay below {256 * (most + 1)}, '
                                     'so that nearly nothing would remain in 8')
        # Pillow does so to 8 bits alone.
        if rgb is not image and white_is_low:
            rgb = ImageOps.invert(rgb)
        if rgb.mode in _ALPHA_MODES or 'transparency' in rgb.info:
            # Pillow converts 'La' through 'LA' only.
            rgba = (rgb.convert('LA') if rgb.mode == 'La' else rgb).convert('RGBA')
            rgb = Image.alpha_composite(Image.new('RGBA', rgba.size, 'white'), rgba)
        return np.ascontiguousarray(np.asarray(rgb.convert('RGB'))[:, :, ::-1])


def refuse_pipe(path: str) -> None:
    """Refuse to read what never ends: a list of images may name a link to a pipe or device.

    Raises:
        ValueError: It is one.
    """
    # What is not there, or at an address, is left to the reader.
    if osp.exists(path) and not (osp.isfile(path) or osp.isdir(path)):
        raise ValueError('it is a pipe or device, not a file')


def format_sizes(size: Sequence[int], stored: Sequence[int]) -> str:
    """Return the size of an image in words.

    Args:
        size: Height and width with the EXIF orientation applied.
        stored: The same as stored.
    """
    text = f'{size[0]} x {size[1]} pixels'
    if tuple(size[:2]) != tuple(stored[:2]):
        text += f' ({stored[0]} x {stored[1]} as stored, before its EXIF orientation)'
    return text


def refuse_bomb(height: int, width: int) -> None:
    """Refuse implausible sizes before allocating memory for them, as Pillow does.

    Raises:
        PIL.Image.DecompressionBombError: More than twice ``PIL.Image.MAX_IMAGE_PIXELS``.
    """
    if Image.MAX_IMAGE_PIXELS and height * width > 2 * Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(
            f'its header says {width} x {height} pixels, which no photograph has')


def refuse_many_values(count: int, itemsize: int) -> None:
    """Refuse more values than the largest RGB photograph has as ``float32``, which is 2 GiB.

    Pixels of many channels are more than :func:`refuse_bomb` allows without being implausible. Each
    value counts as 4 bytes at least, which it takes as ``float32``.

    Args:
        count: Of the values, in all channels and pages that are read at once.
        itemsize: Bytes of each.

    Raises:
        PIL.Image.DecompressionBombError: There are more.
    """
    if Image.MAX_IMAGE_PIXELS and count * max(itemsize, 4) > 2 * Image.MAX_IMAGE_PIXELS * 3 * 4:
        raise Image.DecompressionBombError(
            f'its header says {count} values of {itemsize} byte(s), more than can be read at once: '
            'cut the image into smaller ones')


def _is_plain_png(content: bytes) -> bool:
    """Whether it is a complete PNG, 8-bit grey or RGB, still, upright and opaque."""
    if not content.startswith(PNG) or len(content) < 33:
        return False
    bit_depth, colour_type = content[24], content[25]
    if bit_depth != 8 or colour_type not in (0, 2):
        return False
    position = len(PNG)
    while position + 12 <= len(content):
        chunk = content[position + 4:position + 8]
        if chunk in _PNG_SPECIAL:
            return False
        if chunk == b'IEND':
            return True
        position += 12 + int.from_bytes(content[position:position + 4], 'big')
    return False


def unreadable_reason(error: Exception) -> str:
    """Return why a file could not be read, in one line."""
    if isinstance(error, FileNotFoundError):
        return 'the file does not exist'
    if isinstance(error, IsADirectoryError):
        return 'it is a folder'
    return ' '.join(str(error).split()).rstrip('.') or type(error).__name__
