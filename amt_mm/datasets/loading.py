"""Reading an image file of any usual kind as 8-bit BGR, or one line that says why not."""

from __future__ import annotations

import io

import cv2
import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmengine import fileio
from PIL import Image, ImageOps, UnidentifiedImageError

from amt_mm.errors import UnreadableImage
from amt_mm.registry import TRANSFORMS

from .jpeg_header import read_jpeg_header

_PNG = b'\x89PNG\r\n\x1a\n'
_TIFF = (b'II*\x00', b'MM\x00*')
# Chunks of a PNG that OpenCV, or some of its versions, would pass over.
_PNG_SPECIAL = (b'tRNS', b'acTL', b'eXIf')
_ALPHA_MODES = ('LA', 'La', 'PA', 'RGBA', 'RGBa')
_INT16_MODES = ('I;16', 'I;16L', 'I;16B', 'I;16N')


@TRANSFORMS.register_module()
class LoadImage(LoadImageFromFile):
    """Load an image file of any usual kind as ``uint8`` BGR of shape ``(H, W, 3)``.

    Plain JPEG and PNG files go the way of the parent (OpenCV): same pixels, same
    speed. All others are decoded by Pillow, because OpenCV turns alpha black,
    clips or refuses deep images and, depending on its version, hands out the
    readable part of a truncated file:

    - The EXIF orientation is applied.
    - Alpha, also of a palette or a transparent colour, is composed on white.
    - 16 bits a channel become 8 by their high byte (as Pillow does for RGB).
    - Floating point is read as 0..1 or, where a value exceeds 1, as 0..255.
    - CMYK becomes RGB by Pillow's conversion, without a colour profile.
    - Of an animation the first frame is taken.

    A JPEG whose data have a hole in the middle but a proper end cannot be told
    from a sound one by either decoder, and is read.

    A sample that brings its ``img`` (of a data set that holds images itself, such
    as CIFAR's) passes, and one that brings the bytes of its file (of
    :class:`PackedImages`) is not read again, so that one pipeline serves all data sets.

    Required keys: ``img_path`` (with or without ``img_bytes``) or ``img``. Added keys:
    ``img``, ``img_shape``, ``ori_shape`` (both ``(height, width)``, after the EXIF orientation).

    Args:
        to_float32: Return ``float32`` (values still 0..255). Defaults to False,
            as transforms and collation are several times cheaper on ``uint8``.
        ignore_empty: Return None for a file that cannot be read, whereupon a
            training data set draws another sample at random. Defaults to False:
            nothing is replaced silently.
        backend_args: Arguments of the MMEngine file backend. Defaults to None:
            inferred from the path.

    Raises:
        UnreadableImage: Names the file that is missing, empty, truncated, no image,
            of a kind that has no fixed range of values, or so large that it would
            fill the memory (more than 179 million pixels, Pillow's limit), and the
            reason.
    """

    def __init__(self, to_float32: bool = False, ignore_empty: bool = False, *,
                 backend_args: dict | None = None) -> None:
        super().__init__(
            to_float32=to_float32, ignore_empty=ignore_empty, backend_args=backend_args)

    def transform(self, results: dict) -> dict | None:
        """Read ``results['img_path']``, unless ``img`` or ``img_bytes`` is there.

        Args:
            results: One sample's data.

        Returns:
            The same dict with ``img``, ``img_shape`` and ``ori_shape``; None where
            the file cannot be read and ``ignore_empty`` is set.
        """
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
        # Decoders raise whatever they like on broken bytes (IndexError, struct.error,
        # SyntaxError, ...): here each of them means that this file cannot be read.
        try:
            if content is None:
                content = fileio.get(path, backend_args=self.backend_args)
            return self._decode(content, path)
        except MemoryError:  # says nothing of the file
            raise
        except Exception as error:
            if self.ignore_empty:
                return None
            raise UnreadableImage(f'{path}: not readable as an image: {_reason(error)}. Replace '
                                  'or remove the file.') from error

    def _decode(self, content: bytes | memoryview, path: str) -> np.ndarray:
        return decode_image(bytes(content))


def decode_image(content: bytes) -> np.ndarray:
    """Decode the bytes of an image file, in the way that :class:`LoadImage` describes.

    Args:
        content: The whole file.

    Returns:
        ``uint8`` BGR array of shape ``(H, W, 3)``, contiguous.

    Raises:
        Exception: Of any type, with the reason why the bytes cannot be decoded.
    """
    if not content:
        raise ValueError('the file is empty')
    header = read_jpeg_header(content)
    if header is not None or _is_plain_png(content):
        # As a JPEG's header has it, or else a PNG's.
        refuse_bomb(*((header.height, header.width) if header else
                      (int.from_bytes(content[i:i + 4], 'big') for i in (20, 16))))
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
        if image is not None:
            return image
    try:
        image = Image.open(io.BytesIO(content))
    except UnidentifiedImageError:
        if content.startswith(_TIFF):
            return _decode_float_tiff(content)
        raise
    # Lost by the transposition, which returns a new image.
    file_format = image.format
    with image:
        image = ImageOps.exif_transpose(image)
        if image.mode == 'F':
            rgb = Image.fromarray(_floats_to_uint8(np.asarray(image)))
        elif image.mode in _INT16_MODES or image.mode == 'I':
            rgb = _high_byte(image, file_format)
        else:
            rgb = image
        if rgb.mode in _ALPHA_MODES or 'transparency' in rgb.info:
            # Pillow converts 'La' by way of 'LA' only.
            rgba = (rgb.convert('LA') if rgb.mode == 'La' else rgb).convert('RGBA')
            rgb = Image.alpha_composite(Image.new('RGBA', rgba.size, 'white'), rgba)
        return np.ascontiguousarray(np.asarray(rgb.convert('RGB'))[:, :, ::-1])


def refuse_bomb(height: int, width: int) -> None:
    """Refuse a size that no photograph has, as Pillow does, before memory is taken for it.

    Raises:
        PIL.Image.DecompressionBombError: More than twice ``PIL.Image.MAX_IMAGE_PIXELS``.
    """
    if Image.MAX_IMAGE_PIXELS and height * width > 2 * Image.MAX_IMAGE_PIXELS:
        raise Image.DecompressionBombError(
            f'its header says {width} x {height} pixels, which no photograph has')


def _is_plain_png(content: bytes) -> bool:
    """Whether it is a whole PNG file, 8-bit grey or RGB, still, upright and opaque."""
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
    """Bring 16-bit grey to 8 bits."""
    # Pillow keeps 16-bit greys of some formats in 32-bit integers; other 32-bit
    # images have no maximum by which to scale them.
    if image.mode == 'I' and file_format not in ('PNG', 'PPM'):
        raise ValueError('32-bit integers have no fixed range; save it with 8 or 16 bits')
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


def _floats_to_uint8(values: np.ndarray) -> np.ndarray:
    """Bring floating point values in 0..1 or 0..255 to 8 bits, of the same shape."""
    low, high = values.min(), values.max()
    # Also false for NaN.
    if not (low >= 0 and high <= 255):
        raise ValueError(f'floating point values from {low:g} to {high:g}, where 0..1 or 0..255 '
                         'is expected')
    return np.rint(values * 255 if high <= 1 else values).astype(np.uint8)


def _decode_float_tiff(content: bytes) -> np.ndarray:
    """Decode a TIFF of floating point colours, which Pillow does not know, by OpenCV."""
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise ValueError('truncated, or a kind of TIFF that is not supported')
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype.kind != 'f':
        raise ValueError(f'a TIFF of {image.dtype} and shape {image.shape} is not supported')
    return _floats_to_uint8(image)


def _reason(error: Exception) -> str:
    """One line on why a file could not be read."""
    if isinstance(error, FileNotFoundError):
        return 'there is no such file'
    if isinstance(error, IsADirectoryError):
        return 'it is a folder'
    if isinstance(error, UnidentifiedImageError):
        # Its own text names a buffer in memory.
        return 'truncated at the start, or of no known image format'
    return ' '.join(str(error).split()).rstrip('.') or type(error).__name__
