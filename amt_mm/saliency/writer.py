"""SaliencyWriter: make a file of saliency maps, in any order, and publish it at once."""

from __future__ import annotations

import errno
import os
import shutil
import zlib
from pathlib import Path
from types import TracebackType

import numpy as np
from torch import Tensor

from amt_mm.errors import InputError

from .map_file import SCALES, STORED, MapHeader, pack_front, replace_durably
from .store import SaliencyStore, decode


class SaliencyWriter:
    """Write the maps of a data set, in any order, and publish them at once.

    Rows go to a temporary file beside ``path``, mapped into memory; :meth:`commit` makes
    it durable and renames it. A crash before that leaves the old file as it was. Used in a
    ``with`` statement, what was not committed is deleted at its end. Held in memory is one
    bit a sample. A block's checksum is taken when its last row comes, while
    it is still in memory; so rows in order cost no reading.

    Args:
        path: The file to make.
        num_samples: Number of maps.
        grid: Rows and columns of each map.
        fingerprint: Identity of the data set
            (:func:`~amt_mm.saliency.store.fingerprint`).
        step: Epoch or iteration of this refresh.
        dtype: ``'float16'`` or ``'uint8'``, half the size: 251 instead of 502 MB for
            ImageNet-1K at 14x14.
        base: Older maps, of the same data set and grid, that samples never written keep.
            They are verified as they are taken over. Defaults to None: each sample must
            be written.
        renewed: With a base, the samples that must be written all the same. Defaults to
            None: any may keep its older map.

    Raises:
        InputError: An unknown ``dtype``, a base of another data set or grid, or no space
            for the file.
    """

    def __init__(self, path: str | os.PathLike, num_samples: int, grid: tuple[int, int],
                 fingerprint: str, step: int = 0, dtype: str = 'float16',
                 base: SaliencyStore | None = None, renewed: range | None = None) -> None:
        if dtype not in SCALES:
            raise InputError(f'dtype={dtype!r} is unknown: use one of {", ".join(SCALES)}')
        self.path = Path(path)
        self._header = MapHeader.new(num_samples, grid, dtype, fingerprint, step)
        self._base = base
        self._due = range(num_samples) if base is None else renewed or range(0)
        if base is not None:
            self._check_base(base)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = self.path.with_name(self.path.name + '.tmp')
        self._reserve()
        self._maps = np.memmap(self._temporary, STORED[dtype], 'r+', self._header.maps_start,
                               self._header.shape)
        self._written = np.zeros(-(-num_samples // 8), np.uint8)  # bit i of byte j: row 8 j + i
        size, blocks = self._header.block_rows, self._header.blocks
        self._left = np.full(blocks, size)
        self._left[-1] = num_samples - (blocks - 1) * size
        self._table = np.zeros(blocks, np.uint32)
        self._sealed = np.zeros(blocks, bool)

    def __enter__(self) -> SaliencyWriter:
        """This writer."""
        return self

    def __exit__(self, kind: type | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        """Delete what was not committed."""
        self._temporary.unlink(missing_ok=True)

    def write(self, sample_idx: Tensor, maps: Tensor) -> None:
        """Write some rows; writing one twice with the same map is harmless.

        Args:
            sample_idx: ``(B,)`` int64.
            maps: ``(B, h * w)``, values in [0, 1].

        Raises:
            InputError: An index outside the data set.
        """
        rows = sample_idx.cpu().numpy()
        if not len(rows):
            return
        if rows.min() < 0 or rows.max() >= self._header.num_samples:
            raise InputError(f'sample_idx {int(rows.min())}..{int(rows.max())} lies outside the '
                             f'{self._header.num_samples} maps of {self.path}')
        self._maps[rows] = self._encode(maps.detach().cpu().reshape(-1, *self._header.grid))
        self._note(np.unique(rows))

    def commit(self) -> Path:
        """Make the file durable, give it its name, and return that.

        Raises:
            RuntimeError: Some sample that was due never got a map.
            InputError: A damaged block of the base.
        """
        missing = [row for block in np.flatnonzero(self._left) for row in self._missing(block)]
        if missing:
            raise RuntimeError(f'{len(missing)} of {len(self._due)} samples got no map, the first '
                               f'is sample {missing[0]}')
        # Block by block: a file larger than the memory is read back once.
        for block in np.flatnonzero(~self._sealed):
            if self._left[block]:
                self._take_over(block)
            self._seal(block)
        self._maps.flush()
        with open(self._temporary, 'r+b') as file:
            file.write(pack_front(self._header, self._table))
        replace_durably(self._temporary, self.path)
        return self.path

    def _check_base(self, base: SaliencyStore) -> None:
        header = self._header
        if (base.fingerprint, base.num_samples) != (header.fingerprint, header.num_samples):
            raise InputError(f'{base.path}: these maps belong to another data set '
                             f'({base.fingerprint}, {base.num_samples} maps; this one is '
                             f'{header.fingerprint}, {header.num_samples}): refresh all samples')
        if base.grid != header.grid:
            raise InputError(f'{base.path}: maps of {base.grid[0]}x{base.grid[1]} cells cannot be '
                             f'carried on in a file of {header.grid[0]}x{header.grid[1]}: refresh '
                             'all samples, or at the size of the older maps')

    def _reserve(self) -> None:
        """Take the space: a full disk is an error here, not a crash in a later write."""
        size = self._header.file_bytes
        with open(self._temporary, 'wb') as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                self._temporary.unlink()
                if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                    raise
                free = shutil.disk_usage(self.path.parent).free
                raise InputError(f'{self.path}: no space for {self._header.num_samples} maps: '
                                 f'{size} bytes are needed, {free} are free') from error

    def _encode(self, maps: Tensor) -> np.ndarray:
        scale = SCALES[self._header.dtype]
        maps = maps.float()
        return (maps if scale == 1 else (maps * scale).round()).numpy().astype(self._maps.dtype)

    def _note(self, rows: np.ndarray) -> None:
        """Mark rows, each once, as written; take the checksum of blocks that they complete."""
        byte, bit = rows >> 3, (1 << (rows & 7)).astype(np.uint8)
        fresh = rows[self._written[byte] & bit == 0]
        np.bitwise_or.at(self._written, byte, bit)
        size = self._header.block_rows
        # Rows of a complete block that are written again wait for the commit: else writing
        # all twice, in any order, would take a checksum a row.
        self._sealed[rows // size] = False
        blocks, counts = np.unique(fresh // size, return_counts=True)
        self._left[blocks] -= counts
        for block in blocks[self._left[blocks] == 0]:
            self._seal(block)

    def _seal(self, block: int) -> None:
        self._table[block] = zlib.crc32(self._maps[self._header.rows(block)])
        self._sealed[block] = True

    def _unwritten(self, block: int) -> np.ndarray:
        """Which rows of a block were never written, ``(n,)`` bool."""
        rows = self._header.rows(block)
        bits = np.unpackbits(self._written[rows.start // 8:-(-rows.stop // 8)], bitorder='little')
        return bits[:rows.stop - rows.start] == 0

    def _missing(self, block: int) -> list[int]:
        """Samples of a block that were due and never written."""
        rows = self._header.rows(block).start + np.flatnonzero(self._unwritten(block))
        due = self._due
        inside = (rows >= due.start) & (rows < due.stop) & ((rows - due.start) % due.step == 0)
        return rows[inside].tolist()

    def _take_over(self, block: int) -> None:
        rows = self._header.rows(block)
        old = self._base.verified(rows)
        if old.dtype != self._maps.dtype:
            old = self._encode(decode(old))
        np.copyto(self._maps[rows], old, where=self._unwritten(block)[:, None, None])
