"""The format of a file of saliency maps.

In this order: magic (8 bytes), CRC-32 of all that follows up to the maps (8 hexadecimal
digits), header (JSON, filled up with spaces to 4096 bytes of file), table of the CRC-32 of each
block of maps (uint32, filled up with zeros to whole 4096 bytes), maps ``(num_samples, h, w)`` as
one plain array. All numbers are little-endian; nothing is ever unpickled.

Because the CRC-32 of the front covers the table, and the table the maps, that one number
identifies the whole file, and knowing it costs no pass over the maps.
"""

from __future__ import annotations

import json
import math
import os
import zlib
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import BinaryIO

import numpy as np

from amt_mm.errors import InputError

MAGIC = b'AMTMAP02'
# Maps lie in [0, 1]. float16 keeps steps finer than 1/1000, uint8 halves the file.
SCALES = {'float16': 1.0, 'uint8': 255.0}
STORED = {'float16': np.dtype('<f2'), 'uint8': np.dtype('u1')}
# Large enough that neither table nor loop counts: 4 bytes of table a MiB. Small enough that
# processes get equal shares, and that a block stays in the cache between writing and checking.
BLOCK_BYTES = 2**20
_PAGE = 4096
_HEADER_START = len(MAGIC) + 8


@dataclass(frozen=True)
class MapHeader:
    """What the header says, and where that puts the rest.

    Attributes:
        num_samples: Number of maps.
        grid: Rows and columns of each map.
        dtype: ``'float16'`` or ``'uint8'``.
        fingerprint: Identity of the data set the maps belong to.
        step: Epoch or iteration at which the maps were made.
        block_rows: Maps a block; the last block may have fewer.
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
        """The header of a file to be written, with blocks of about ``BLOCK_BYTES``."""
        row = math.prod(grid) * STORED[dtype].itemsize
        # Whole bytes of SaliencyWriter's bits.
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
        """Where the maps begin in the file."""
        return _PAGE + -(-4 * self.blocks // _PAGE) * _PAGE

    @property
    def file_bytes(self) -> int:
        """Size of the file."""
        return self.maps_start + self.num_samples * self.row_bytes

    def rows(self, block: int) -> slice:
        """The samples of a block."""
        return slice(block * self.block_rows,
                     min((block + 1) * self.block_rows, self.num_samples))


def pack_front(header: MapHeader, table: np.ndarray) -> bytes:
    """All that stands before the maps.

    Args:
        header: The header.
        table: CRC-32 of each block.
    """
    front = json.dumps(asdict(header)).encode().ljust(_PAGE - _HEADER_START)
    front += table.astype('<u4').tobytes()
    front = front.ljust(header.maps_start - _HEADER_START, b'\0')
    return MAGIC + _digits(zlib.crc32(front)) + front


def read_front(file: BinaryIO, path: Path) -> tuple[MapHeader, np.ndarray, int]:
    """Read all that stands before the maps, and check it.

    Args:
        file: The file, at its beginning.
        path: Its name, for messages.

    Returns:
        Header, CRC-32 of each block, and CRC-32 of the front.

    Raises:
        InputError: A file of another kind or version, of the wrong length, or damaged.
    """
    start = file.read(_PAGE)
    if start[:6] == MAGIC[:6] and start[:8] != MAGIC:
        raise InputError(f'{path}: this saliency map has another format '
                         f'({start[:8].decode("ascii", "replace")}, this is {MAGIC.decode()}): '
                         'start without resuming, and it is made anew')
    if not start.startswith(MAGIC):
        raise InputError(f'{path}: this is no saliency map of amt_mm')
    header = _parse(start[_HEADER_START:])
    if header is None:
        raise InputError(f'{path}: the header of this saliency map is damaged')
    # Before the table is read: a damaged header may claim any length.
    size = os.fstat(file.fileno()).st_size
    if size != header.file_bytes:
        raise InputError(f'{path}: the file is cut short or too long '
                         f'({size} bytes, {header.file_bytes} by its header)')
    front = start[_HEADER_START:] + file.read(header.maps_start - _PAGE)
    crc32 = zlib.crc32(front)
    if start[len(MAGIC):_HEADER_START] != _digits(crc32):
        raise InputError(f'{path}: checksum differs, the header of this saliency map is damaged')
    table = np.frombuffer(front, '<u4', header.blocks, _PAGE - _HEADER_START)
    return header, table, crc32


def replace_durably(temporary: Path, path: Path) -> None:
    """Give a written file its name; after a crash there is the old or the whole new one."""
    with open(temporary, 'r+b') as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _digits(crc32: int) -> bytes:
    return b'%08x' % crc32


def _parse(text: bytes) -> MapHeader | None:
    """The header, or None where it does not make sense."""
    kinds = {'num_samples': int, 'grid': list, 'dtype': str, 'fingerprint': str, 'step': int,
             'block_rows': int}
    try:
        said = json.loads(text)
        sound = (said.keys() == {field.name for field in fields(MapHeader)}
                 and all(type(said[name]) is kind for name, kind in kinds.items())
                 and said['dtype'] in SCALES and said['num_samples'] > 0
                 and said['block_rows'] > 0 and len(said['grid']) == 2
                 and all(type(n) is int and n > 0 for n in said['grid']))
    except (ValueError, AttributeError, TypeError, RecursionError):
        return None
    return MapHeader(**{**said, 'grid': tuple(said['grid'])}) if sound else None
