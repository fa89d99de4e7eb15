"""Header of a JPEG file, read without decoding it."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

_START = b'\xff\xd8\xff'
_END = b'\xff\xd9'
# Start-of-frame markers; C4, C8 and CC in the same range mean other things.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN = 0xDA
_APP1 = 0xE1
_EXIF = b'Exif\0\0'
_ORIENTATION_TAG = 0x0112


@dataclass(frozen=True)
class JpegHeader:
    """Header of an 8-bit JPEG file with 1 or 3 channels.

    Attributes:
        height: As stored, before the EXIF orientation.
        width: As stored.
        mcu_width: Columns coded together: 8 times the largest horizontal sampling factor.
        upright: Whether the EXIF orientation is absent or trivial.
    """

    height: int
    width: int
    mcu_width: int
    upright: bool


def read_jpeg_header(content: bytes | memoryview) -> JpegHeader | None:
    """Read the header of a JPEG file from its whole content.

    Returns:
        The header; None for other files, and JPEGs with 12 bits, 4 channels, or invalid sizes
        or sampling factors.

    Raises:
        ValueError: The JPEG is truncated.
    """
    if content[:3] != _START:
        return None
    frame, upright = None, True
    position = 2
    while position + 10 <= len(content) and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == 0xFF:
            position += 1
            continue
        size = int.from_bytes(content[position + 2:position + 4], 'big')
        if marker in _FRAMES:
            frame = bytes(content[position + 4:position + 2 + size])
        elif marker == _APP1 and content[position + 4:position + 10] == _EXIF:
            upright = _is_upright(bytes(content[position + 4:position + 2 + size]))
        elif marker == _SCAN:
            # Within a scan every FF is followed by 00 or a restart marker, so FF D9 ends it.
            # Decoders do not require it: they show the zeros of a broken download as grey.
            if content[-2:] != _END and bytes(content[position:]).rfind(_END) < 0:
                raise ValueError('truncated: the JPEG has no end marker')
            return _plain(frame, upright)
        position += 2 + size
    return None


def _plain(frame: bytes | None, upright: bool) -> JpegHeader | None:
    # Precision, height (2), width (2), number of channels, then 3 bytes per channel.
    if frame is None or len(frame) < 6 or frame[0] != 8 or frame[5] not in (1, 3):
        return None
    factors = [sampling >> 4 for sampling in frame[7::3]]
    height, width = int.from_bytes(frame[1:3], 'big'), int.from_bytes(frame[3:5], 'big')
    # Sizes and factors outside the standard are left to the regular decoder.
    if (not height or not width or len(factors) != frame[5]
            or not 1 <= min(factors) <= max(factors) <= 4):
        return None
    # With one channel the factor has no meaning: a unit is one block.
    mcu_width = 8 * max(factors) if len(factors) > 1 else 8
    return JpegHeader(height, width, mcu_width, upright)


def _is_upright(segment: bytes) -> bool:
    exif = Image.Exif()
    try:
        exif.load(segment)
        return exif.get(_ORIENTATION_TAG, 1) == 1
    except Exception:
        # Decoders differ on broken segments: leave them to the regular one.
        return False
