"""Open pictures by Pillow, of the formats that photographs have."""

from __future__ import annotations

from typing import BinaryIO

from PIL import ExifTags, Image, UnidentifiedImageError

from .optional_packages import MissingPackage, optional
from .png_texts import refuse_texts

# Pillow goes by the content of a file and knows some 40 formats. Among them are PostScript (EPS), a
# program, which it has Ghostscript run, and FITS, of which Python may decode a few bytes for hours.
_FORMATS = ('JPEG', 'PNG', 'BMP', 'DIB', 'PPM', 'TIFF', 'WEBP', 'GIF', 'AVIF', 'JPEG2000', 'HEIF')

# Brands of HEIF with HEVC, at byte 8; AVIF has others.
_HEIC = (b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx', b'mif1', b'msf1')
# By the EXIF orientation, what turns an image upright.
_TURNS = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
          4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
          6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
          8: Image.Transpose.ROTATE_90}


def open_picture(file: BinaryIO) -> Image.Image:
    """Open a picture, whatever the name of its file.

    Args:
        file: At its start, to be closed by the caller.

    Raises:
        UnidentifiedImageError: It is of no format that photographs have, has no header, or is a
            HEIC image and pillow_heif is not installed.
        Exception: Of any type, with the reason why the file is no picture.
    """
    refuse_texts(file)
    Image.init()
    start = file.read(12)
    file.seek(0)
    if start[4:8] == b'ftyp' and start[8:] in _HEIC:
        try:
            optional('pillow_heif', 'HEIC images').register_heif_opener()
        except MissingPackage as error:
            # One file among others, as those named .heic, which are left out: no reason to stop.
            raise UnidentifiedImageError(str(error)) from error
    try:
        # AVIF is there with some versions of Pillow, HEIF once it is registered.
        return Image.open(file, formats=[name for name in _FORMATS if name in Image.OPEN])
    except UnidentifiedImageError as error:
        # Its own message names a buffer in memory.
        raise UnidentifiedImageError('truncated at the start, or an unknown image format'
                                     ) from error


def upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation.

    Pillow's ``exif_transpose`` writes the EXIF anew, which fails where any of it is damaged.
    """
    # Chunks of a PNG may come after its pixels.
    image.load()
    turn = _TURNS.get(exif_orientation(image))
    return image if turn is None else image.transpose(turn)


def as_stored(image: Image.Image) -> Image.Image:
    """Load an image without its EXIF orientation, which Pillow applies to TIFFs by itself."""
    orientation = exif_orientation(image)
    image.load()
    if image.format != 'TIFF' or orientation not in _TURNS:
        return image
    # The two quarter turns undo each other, the others themselves.
    return image.transpose(_TURNS[{6: 8, 8: 6}.get(orientation, orientation)])


def exif_orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 (upright) where the EXIF cannot be read: the pixels can."""
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # SyntaxError, struct.error, ... on broken bytes
        return 1
