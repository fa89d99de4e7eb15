"""Format of a file of saliency maps.

A preamble is followed by the maps ``(num_samples, h, w)`` as one plain array. The preamble consists
of the magic (8 bytes), the CRC-32 of the rest of the preamble (8 hexadecimal digits), the header
(JSON, padded with spaces to byte 4096 of the file) and the table of the CRC-32 of each block of
maps (uint32, padded with zeros to a multiple of 4096 bytes). All numbers are little-endian; nothing
is unpickled.

The CRC-32 of the preamble covers the table, and the table covers the maps, so this one number
identifies the whole file, without a pass over the maps.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from amt_mm.errors import InputError

MAGIC = b'AMTMAP02'
# Maps lie in [0, 1]. float16 keeps steps finer than 1/1000, uint8 halves the file.
SCALES = {'float16': 1.0, 'uint8': 255.0}
STORED = {'float16': np.dtype('<f2'), 'uint8': np.dtype('u1')}
# Large enough for the table (4 bytes per MiB) and loops to be negligible; small enough for equal
# shares between processes, and for a block to stay in the cache between writing and checking.
BLOCK_BYTES = 2**20
_PAGE = 4096
_HEADER_START = len(MAGIC) + 8


@dataclass(frozen=True)
class MapHeader:
    """Header, and the layout of the file that follows from it.

    Attributes:
        num_samples: Number of maps.
        grid: Rows and columns of each map.
        dtype: ``'float16'`` or ``'uint8'``.
        fingerprint: Identity of the data set.
        step: Epoch or iteration at which the maps were made.
        block_rows: Maps per block; the last block may have fewer.
    """

    num_samples: int
    grid: tuple[int, int]
    dtype: str
    fingerprint: str
    step: int
    block_rows: int

    @classmethod
    def new(cls, num_samples: int, grid: tuple[int, int], dtype: str, fingerprint: str,
            step: int) -> MapHeader:
        """Make the header of a new file, with blocks of about ``BLOCK_BYTES``."""
        row = math.prod(grid) * STORED[dtype].itemsize
        # A multiple of 8, so that a block has whole bytes of SaliencyWriter's bits.
        return cls(num_samples, tuple(grid), dtype, fingerprint, step,
                   max(8, BLOCK_BYTES // row // 8 * 8))

    @property
    def shape(self) -> tuple[int, int, int]:
        """``(num_samples, h, w)``."""
        return (self.num_samples, *self.grid)

    @property
    def row_bytes(self) -> int:
        """Size of a map."""
        return math.prod(self.grid) * STORED[self.dtype].itemsize

    @property
    def blocks(self) -> int:
        """Number of blocks."""
        return -(-self.num_samples // self.block_rows)

    @property
    def maps_start(self) -> int:
        """Offset of the maps in the file."""
        return _PAGE + -(-4 * self.blocks // _PAGE) * _PAGE

    @property
    def file_bytes(self) -> int:
        """Size of the file."""
        return self.maps_start + self.num_samples * self.row_bytes

    def rows(self, block: int) -> slice:
        """Return the samples of a block."""
        return slice(block * self.block_rows,
                     min((block + 1) * self.block_rows, self.num_samples))


def pack_preamble(header: MapHeader, table: np.ndarray) -> bytes:
    """Serialise the preamble from the header and the CRC-32 of each block."""
    content = json.dumps(asdict(header)).encode().ljust(_PAGE - _HEADER_START)
    content += table.astype('<u4').tobytes()
    content = content.ljust(header.maps_start - _HEADER_START, b'\0')
    return MAGIC + b'%08x' % zlib.crc32(content) + content


def read_preamble(file: BinaryIO, path: Path) -> tuple[MapHeader, np.ndarray, int]:
    """Read and check the preamble.

    Args:
        file: The file, at its beginning.
        path: Its name, for messages.

    Returns:
        Header, CRC-32 of each block, and CRC-32 of the preamble.

    Raises:
        InputError: The file is of another kind or version, of the wrong length, or damaged.
    """
    start = file.read(_PAGE)
    if start[:6] == MAGIC[:6] and start[:8] != MAGIC:
        raise InputError(f'{path}: the format of these saliency maps is '
                         f'{start[:8].decode("ascii", "replace")}, not {MAGIC.decode()}; start '
                         'without resuming to compute new ones')
    if not start.startswith(MAGIC):
        raise InputError(f'{path}: not a saliency map file of amt_mm')
    header = _parse_header(start[_HEADER_START:])
    if header is None:
        raise InputError(f'{path}: the header of this saliency map file is damaged')
    # Before the table is read: a damaged header may claim any length.
    size = os.fstat(file.fileno()).st_size
    if size != header.file_bytes:
        raise InputError(f'{path}: the file is truncated or too long '
                         f'({size} bytes, {header.file_bytes} according to its header)')
    content = start[_HEADER_START:] + file.read(header.maps_start - _PAGE)
    crc32 = zlib.crc32(content)
    if start[len(MAGIC):_HEADER_START] != b'%08x' % crc32:
        raise InputError(f'{path}: the header of this saliency map file is damaged (checksum '
                         'mismatch)')
    table = np.frombuffer(content, '<u4', header.blocks, _PAGE - _HEADER_START)
    return header, table, crc32


def allocate(path: Path, size: int) -> int | None:
    """Create a file of so many bytes; where they do not fit, none, and return what is free.

    So a full disk is an error here, not a crash in a later write. A link of this name is replaced,
    not followed.
    """
    path.unlink(missing_ok=True)
    with open(path, 'xb') as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            path.unlink()
            if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                raise
            return shutil.disk_usage(path.parent).free
    return None


def replace_durably(temporary: Path, path: Path) -> None:
    """Rename a written file; after a crash either the old or the complete new file exists."""
    with open(temporary, 'r+b') as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _parse_header(text: bytes) -> MapHeader | None:
    """Parse the header; None if it is invalid."""
    kinds = {'num_samples': int, 'grid': list, 'dtype': str, 'fingerprint': str, 'step': int,
             'block_rows': int}
    try:
        given = json.loads(text)
        valid = (given.keys() == kinds.keys()
                 and all(type(given[name]) is kind for name, kind in kinds.items())
                 and given['dtype'] in SCALES and given['num_samples'] > 0
                 and given['block_rows'] > 0 and len(given['grid']) == 2
                 and all(type(n) is int and n > 0 for n in given['grid']))
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    return MapHeader(**{**given, 'grid': tuple(given['grid'])}) if valid else None
