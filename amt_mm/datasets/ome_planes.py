"""The number of planes in the OME-XML of a TIFF, against the size of its file."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tifffile import TiffFile

# Attributes of the pixels of an image, and the sizes of them that count planes.
_PIXELS = re.compile(r'<(?:\w+:)?Pixels\b([^>]*)')
_SIZES = re.compile(r'\bSize[CTZ]\s*=\s*["\'](\d{1,18})')


def refuse_claims(file: TiffFile) -> None:
    """Refuse a TIFF whose OME-XML lists more planes than the file has bytes.

    To be called before ``file.series``, which takes memory for each plane. The file may be one of
    several that these planes are in.

    Raises:
        ValueError: There are more.
    """
    for sizes in _PIXELS.findall(file.ome_metadata or ''):
        planes = math.prod(map(int, _SIZES.findall(sizes)))
        if planes > file.filehandle.size:
            raise ValueError(f'its OME-XML says {planes} planes, in {file.filehandle.size} bytes')
