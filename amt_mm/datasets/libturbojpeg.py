"""Decoding of parts of a JPEG file by libturbojpeg, if installed (``pip install turbojpeg``).

OpenCV and Pillow decode whole images only. libturbojpeg (3.0 or newer) also reads the whole file,
but skips inverse transform, upsampling and colour conversion outside the part; inside, its
pixels equal OpenCV's, which bundles the same library.
"""

from __future__ import annotations

import ctypes
import threading
from ctypes.util import find_library
from functools import cache
from importlib.metadata import PackageNotFoundError, files

import numpy as np

from .jpeg_header import JpegHeader

# From turbojpeg.h; constant throughout version 3.
_DECOMPRESS = 1
_BGR = 1
_handles = threading.local()


class _Region(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in ('x', 'y', 'w', 'h')]


class _Fraction(ctypes.Structure):
    _fields_ = [(name, ctypes.c_int) for name in ('num', 'denom')]


@cache
def libturbojpeg() -> ctypes.CDLL | None:
    """Load the library of the package ``turbojpeg``, else the system's; None without either."""
    for path in _candidates():
        try:
            library = ctypes.CDLL(path)
            signatures = {
                'tj3Init': (ctypes.c_void_p, [ctypes.c_int]),
                'tj3DecompressHeader': (ctypes.c_int, [ctypes.c_void_p] * 2 + [ctypes.c_size_t]),
                'tj3SetScalingFactor': (ctypes.c_int, [ctypes.c_void_p, _Fraction]),
                'tj3SetCroppingRegion': (ctypes.c_int, [ctypes.c_void_p, _Region]),
                'tj3Decompress8': (ctypes.c_int, [ctypes.c_void_p] * 2 + [
                    ctypes.c_size_t, ctypes.c_void_p, ctypes.c_int, ctypes.c_int]),
            }
            for name, (result, arguments) in signatures.items():
                function = getattr(library, name)
                function.restype, function.argtypes = result, arguments
            return library
        except (OSError, AttributeError):  # not loadable, or older than 3.0
            continue
    return None


def _candidates() -> list[str]:
    try:
        packaged = [str(file.locate()) for file in files('turbojpeg') or ()
                    if file.name.startswith('libturbojpeg')]
    except PackageNotFoundError:
        packaged = []
    system = find_library('turbojpeg')
    return packaged + ([system] if system else [])


def decode_part(content: np.ndarray, header: JpegHeader, top: int, left: int, height: int,
                width: int, reduce: int = 1) -> np.ndarray | None:
    """Decode a part of a JPEG file.

    Args:
        content: The whole file, uint8.
        header: Its header.
        top: First row of the part, in pixels of the reduced image, as the following.
        left: First column.
        height: Rows.
        width: Columns.
        reduce: Divisor of the size: 1, 2, 4 or 8. The reduced image has
            ``ceil(height / reduce)`` rows and so on; each pixel comes from the low frequencies
            of one DCT block.

    Returns:
        ``(height, width, 3)`` uint8 BGR, rows not necessarily adjacent in memory; None without
        the library, or if it rejects the file.
    """
    library = libturbojpeg()
    if library is None:
        return None
    handle = getattr(_handles, 'handle', None)
    if handle is None:
        handle = _handles.handle = library.tj3Init(_DECOMPRESS)
    # Parts start at whole coding units; one more on either side for the upsampling of colours.
    unit = -(-header.mcu_width // reduce)
    first = max(0, left - unit) // unit * unit
    end = min(-(-header.width // reduce), left + width + unit)
    out = np.empty((height, end - first, 3), np.uint8)
    pointer = content.ctypes.data
    if (library.tj3DecompressHeader(handle, pointer, content.size)
            or library.tj3SetScalingFactor(handle, _Fraction(1, reduce))
            or library.tj3SetCroppingRegion(handle, _Region(first, top, end - first, height))
            or library.tj3Decompress8(handle, pointer, content.size, out.ctypes.data, 0, _BGR)):
        return None
    return out[:, left - first:left - first + width]
