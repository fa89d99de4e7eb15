"""Read large photographs from small copies, so that each is decoded in full only once."""

from __future__ import annotations

import os
from hashlib import blake2b
from pathlib import Path
from uuid import uuid4

import cv2
import numpy as np

from amt_mm.errors import InputError
from amt_mm.registry import TRANSFORMS

from .frames import file_version
from .loading import LoadImage, decode_image

# Images of up to this many times the side are read as they are: copies would save little.
_WORTH = 1.5
# Losses are below what averaging to a smaller size does to the image.
_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 95,
            cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
_END_OF_JPEG = b'\xff\xd9'
# OpenCV writes no longer JPEG.
_LONGEST = 65_500


@TRANSFORMS.register_module()
class LoadReducedImage(LoadImage):
    """Load an image as :class:`LoadImage` does, a large one from a copy of reduced size.

    Decoding a photograph of 12 megapixels takes many times as long as the step of a small network
    that it is for. The first read decodes it, averages it to a shorter side of ``side`` pixels
    and stores a JPEG; all later reads, by any process, take that. The first read returns what the
    later ones do, bit for bit.

    Copies are named by a hash of the path, size and time of the file, so a changed file gets a
    new one. Packed images, and those that are not local files, have none. The folder may be deleted
    at any time.

    Required and added keys: as :class:`LoadImage`; the size of a copy is that of its image.

    Args:
        folder: Of the copies; created when the first is written.
        side: Shorter side of the copies, in pixels. Images whose shorter side is at most 1.5 times
            as long have no copy, nor have strips too long for a JPEG.
        **kwargs: See :class:`LoadImage`.

    Raises:
        InputError: ``side`` is not positive, or a copy cannot be written.
    """

    def __init__(self, folder: str, side: int, **kwargs) -> None:
        if side < 1:
            raise InputError(f'LoadReducedImage: side={side} must be positive')
        super().__init__(**kwargs)
        self.folder, self.side = folder, side

    def _get(self, path: str) -> bytes | memoryview:
        try:
            content = self._copy_of(path).read_bytes()
        except OSError:
            content = b''
        # A machine that lost power may leave a part of a file.
        return content if content.endswith(_END_OF_JPEG) else super()._get(path)

    def _decode(self, content: bytes | memoryview, path: str) -> np.ndarray:
        image = decode_image(bytes(content), least=2 * self.side)
        height, width = image.shape[:2]
        # Packed images, and those at an address, have no version by which a change is noticed.
        if min(height, width) <= _WORTH * self.side or not file_version(path):
            return image
        scale = self.side / min(height, width)
        if round(max(height, width) * scale) > _LONGEST:
            return image
        image = cv2.resize(image, (round(width * scale), round(height * scale)),
                           interpolation=cv2.INTER_AREA)
        copy = cv2.imencode('.jpg', image, _QUALITY)[1].tobytes()
        self._write(self._copy_of(path), copy)
        return decode_image(copy)

    def _copy_of(self, path: str) -> Path:
        key = repr((os.path.abspath(path), *file_version(path), self.side))
        return Path(self.folder, f'{blake2b(key.encode(), digest_size=16).hexdigest()}.jpg')

    def _write(self, path: Path, content: bytes) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            # Several processes may read the same image for the first time. The mode is that of
            # other files, not mkstemp's, so that other users may read the copies.
            temporary = path.with_name(f'.{uuid4().hex}')
            try:
                with open(temporary, 'xb') as file:
                    file.write(content)
                os.replace(temporary, path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f'{self.folder}: a reduced copy of an image cannot be written '
                             f'({error.strerror}); make room, or set overlay.reduced_images=None '
                             'to read all images in full size') from error
