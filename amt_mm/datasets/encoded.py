"""JPEG images whose decoding is deferred until the needed part is known."""

from __future__ import annotations

import cv2
import numpy as np

from amt_mm.errors import UnreadableImage
from amt_mm.printable import one_line

from .jpeg_header import JpegHeader, read_jpeg_header
from .libturbojpeg import decode_part
from .loading import REDUCED_JPEG, refuse_bomb
from .unreadable import want_of_memory


class EncodedImage:
    """An upright JPEG file of which parts are decoded on request.

    Args:
        content: The whole file, uint8.
        header: Its header.
        name: Of the file, for messages.

    Attributes:
        shape: ``(height, width, 3)``, as of the decoded array.
    """

    def __init__(self, content: np.ndarray, header: JpegHeader, name: str) -> None:
        self._content = content
        self._header = header
        self._name = name
        self.shape = (header.height, header.width, 3)

    def decode(self) -> np.ndarray:
        """Decode the whole image, ``(height, width, 3)`` uint8 BGR.

        Raises:
            UnreadableImage: The file is damaged.
        """
        with want_of_memory(self._name):
            return self._decode_all(1)

    def part(self, top: int, left: int, height: int, width: int, reduce: int = 1) -> np.ndarray:
        """Decode a part of the image, optionally reduced.

        Args:
            top: First row of the part, in pixels of the whole image, as the following.
            left: First column.
            height: Rows.
            width: Columns.
            reduce: Divisor of the size, 1, 2, 4 or 8; edges are rounded to reduced pixels.

        Returns:
            uint8 BGR, about ``(height / reduce, width / reduce, 3)``.

        Raises:
            UnreadableImage: The file is damaged.
        """
        rows = slice(round(top / reduce), max(round((top + height) / reduce), 1))
        columns = slice(round(left / reduce), max(round((left + width) / reduce), 1))
        with want_of_memory(self._name):
            image = decode_part(self._content, self._header, rows.start, columns.start,
                                rows.stop - rows.start, columns.stop - columns.start, reduce)
            return self._decode_all(reduce)[rows, columns] if image is None else image

    def _decode_all(self, reduce: int) -> np.ndarray:
        image = cv2.imdecode(self._content, REDUCED_JPEG[reduce])
        if image is None:
            raise UnreadableImage(f'{one_line(self._name)}: unreadable image: the JPEG data are '
                                  'damaged. Replace or remove the file.')
        return image


def open_jpeg(content: bytes | memoryview, name: str) -> EncodedImage | None:
    """Return an upright JPEG file as an :class:`EncodedImage`, None for any other file.

    Args:
        content: The whole file.
        name: Of the file, for messages.

    Raises:
        ValueError: The JPEG is truncated.
        PIL.Image.DecompressionBombError: It has more pixels than any photograph.
    """
    header = read_jpeg_header(content)
    if header is None or not header.upright or not (header.height and header.width):
        return None
    refuse_bomb(header.height, header.width)
    return EncodedImage(np.frombuffer(content, np.uint8), header, name)
