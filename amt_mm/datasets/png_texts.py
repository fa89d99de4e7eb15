"""Compressed texts in PNG files: decoders unpack each to 1,000 times its size."""

from __future__ import annotations

from typing import BinaryIO

PNG = b'\x89PNG\r\n\x1a\n'
_TEXTS = (b'zTXt', b'iTXt')
# Pillow takes 5 ms for each, for as many as there are.
_UNPACKED = (*_TEXTS, b'iCCP')
_MOST = 100


def without_texts(content: bytes) -> bytes:
    """Return a PNG without its texts, for OpenCV, which takes 70 ms for each and shows none."""
    if not any(name in content for name in _TEXTS):
        return content
    parts, start, position = [], 0, len(PNG)
    while position + 12 <= len(content):
        end = position + 12 + int.from_bytes(content[position:position + 4], 'big')
        if content[position + 4:position + 8] in _TEXTS:
            parts.append(content[start:position])
            start = end
        position = end
    return b''.join([*parts, content[start:]])


def refuse_texts(file: BinaryIO) -> None:
    """Refuse a PNG with more compressed texts and profiles than a photograph has.

    Args:
        file: At its start, where it is left. Of another format, nothing is refused.

    Raises:
        ValueError: It has more.
    """
    if file.read(len(PNG)) == PNG:
        count = 0
        while len(head := file.read(8)) == 8:
            count += head[4:] in _UNPACKED
            if count > _MOST:
                raise ValueError(f'more than {_MOST} compressed texts, which no photograph has')
            file.seek(int.from_bytes(head[:4], 'big') + 4, 1)
    file.seek(0)
