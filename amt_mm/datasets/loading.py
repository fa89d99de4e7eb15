"""Load image files of any common kind as 8-bit BGR, or fail with a one-line reason."""

from __future__ import annotations

import io
from collections.abc import Sequence

import cv2
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from PIL import Image, ImageOps, UnidentifiedImageError

from amt_mm.errors import InputError, UnreadableImage
from amt_mm.registry import TRANSFORMS

from .jpeg_header import read_jpeg_header

_PNG = b'\x89PNG\r\n\x1a\n'
_TIFF = (b'II*\x00', b'MM\x00*')
# PNG chunks that some versions of OpenCV ignore.
_PNG_SPECIAL = (b'tRNS', b'acTL', b'eXIf')
_ALPHA_MODES = ('LA', 'La', 'PA', 'RGBA', 'RGBa')
_INT16_MODES = ('I;16', 'I;16L', 'I;16B', 'I;16N')


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
    - Floating point values are read as 0..1 or, if one exceeds 1, as 0..255.
    - CMYK is converted to RGB by Pillow, without a colour profile.
    - The first frame of an animation is used.

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
            an image, without a fixed range of values, or larger than 179 million pixels
            (Pillow's limit), which would exhaust the memory.
        InputError: The image has another size than its labels are for.
    """

    def __init__(self, to_float32: bool = False, ignore_empty: bool = False, *,
                 backend_args: dict | None = None) -> None:
        super().__init__(
            to_float32=to_float32, ignore_empty=ignore_empty, backend_args=backend_args)

    def transform(self, results: dict) -> dict | None:
        """Load the image; None if it is unreadable and ``ignore_empty`` is set."""
        image = results.get('img')
        if image is None:
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
                content = fileio.get(path, backend_args=self.backend_args)
            image = self._decode(content, path)
            if {'height', 'width'} <= results.keys():
                return _as_labelled(image, content, (results['height'], results['width']), path)
            return image
        except (MemoryError, InputError):  # not caused by the file
            raise
        except Exception as error:
            if self.ignore_empty:
                return None
            raise UnreadableImage(f'{path}: cannot be read as an image: {_reason(error)}. '
                                  'Replace or remove the file.') from error

    def _decode(self, content: bytes | memoryview, path: str) -> np.ndarray:
        return decode_image(bytes(content))


def decode_image(content: bytes, turned: bool = True) -> np.ndarray:
    """Decode the content of an image file as :class:`LoadImage` describes.

    Args:
        content: Of the file.
        turned: Whether to apply the EXIF orientation.

    Returns:
        Contiguous ``uint8`` BGR array of shape ``(H, W, 3)``.

    Raises:
        Exception: Of any type, with the reason why the content cannot be decoded.
    """
    if not content:
        raise ValueError('the file is empty')
    header = read_jpeg_header(content)
    if header is not None or _is_plain_png(content):
        # From the header of the JPEG or the PNG.
        refuse_bomb(*((header.height, header.width) if header else
                      (int.from_bytes(content[i:i + 4], 'big') for i in (20, 16))))
        flags = cv2.IMREAD_COLOR | (0 if turned else cv2.IMREAD_IGNORE_ORIENTATION)
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        if image is not None:
            return image
    try:
        image = Image.open(io.BytesIO(content))
    except UnidentifiedImageError:
        if content.startswith(_TIFF):
            return _decode_float_tiff(content)
        raise
    # The transposed image does not keep its format.
    file_format = image.format
    with image:
        if turned:
            image = ImageOps.exif_transpose(image)
        if image.mode == 'F':
            rgb = Image.fromarray(_floats_to_uint8(np.asarray(image)))
        elif image.mode in _INT16_MODES or image.mode == 'I':
            rgb = _high_byte(image, file_format)
        else:
            rgb = image
        if rgb.mode in _ALPHA_MODES or 'transparency' in rgb.info:
            # Pillow converts 'La' through 'LA' only.
            rgba = (rgb.convert('LA') if rgb.mode == 'La' else rgb).convert('RGBA')
            rgb = Image.alpha_composite(Image.new('RGBA', rgba.size, 'white'), rgba)
        return np.ascontiguousarray(np.asarray(rgb.convert('RGB'))[:, :, ::-1])


def _as_labelled(image: np.ndarray, content: bytes | memoryview, size: tuple[int, int], path: str
                 ) -> np.ndarray:
    """Return the image as it is or as stored, whichever has the size of its labels.

    Raises:
        InputError: Neither has.
    """
    if image.shape[:2] == size:
        return image
    stored = decode_image(bytes(content), turned=False)
    if stored.shape[:2] != size:
        raise InputError(f'{path}: has {format_sizes(image.shape, stored.shape)}, but its labels '
                         f'are for {size[0]} x {size[1]} (height x width)')
    return stored


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


def _is_plain_png(content: bytes) -> bool:
    """Whether it is a complete PNG, 8-bit grey or RGB, still, upright and opaque."""
    if not content.startswith(_PNG) or len(content) < 33:
        return False
    bit_depth, colour_type = content[24], content[25]
    if bit_depth != 8 or colour_type not in (0, 2):
        return False
    position = len(_PNG)
    while position + 12 <= len(content):
        chunk = content[position + 4:position + 8]
        if chunk in _PNG_SPECIAL:
            return False
        if chunk == b'IEND':
            return True
        position += 12 + int.from_bytes(content[position:position + 4], 'big')
    return False


def _high_byte(image: Image.Image, file_format: str | None) -> Image.Image:
    """Convert 16-bit grey to 8 bits."""
    # Pillow stores 16-bit grey of some formats as 32-bit integers; others have no known maximum.
    if image.mode == 'I' and file_format not in ('PNG', 'PPM'):
        raise ValueError('32-bit integers have no fixed range; save the image with 8 or 16 bits')
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _floats_to_uint8(values: np.ndarray) -> np.ndarray:
    """Convert floating point values in 0..1 or 0..255 to 8 bits."""
    low, high = values.min(), values.max()
    # Also false for NaN.
    if not (low >= 0 and high <= 255):
        raise ValueError(f'floating point values from {low:g} to {high:g} are neither in 0..1 '
                         'nor in 0..255')
    return np.rint(values * 255 if high <= 1 else values).astype(np.uint8)


def _decode_float_tiff(content: bytes) -> np.ndarray:
    """Decode a floating point colour TIFF, unknown to Pillow, by OpenCV."""
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError('truncated, or an unsupported kind of TIFF')
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype.kind != 'f':
        raise ValueError(f'a TIFF of {image.dtype} and shape {image.shape} is not supported')
    return _floats_to_uint8(image)


def _reason(error: Exception) -> str:
    """Return why a file could not be read, in one line."""
    if isinstance(error, FileNotFoundError):
        return 'the file does not exist'
    if isinstance(error, IsADirectoryError):
        return 'it is a folder'
    if isinstance(error, UnidentifiedImageError):
        # Its own message names a buffer in memory.
        return 'truncated at the start, or an unknown image format'
    return ' '.join(str(error).split()).rstrip('.') or type(error).__name__
