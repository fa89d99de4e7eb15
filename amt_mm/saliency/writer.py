"""SaliencyWriter: write a file of saliency maps in any order and publish it atomically."""

from __future__ import annotations

import errno
import os
import shutil
import zlib
from contextlib import suppress
from pathlib import Path
from types import TracebackType

import numpy as np
from torch import Tensor

from amt_mm.checks import check_choice
from amt_mm.errors import InputError

from .map_file import SCALES, STORED, MapHeader, pack_preamble, replace_durably
from .store import SaliencyStore, decode


class SaliencyWriter:
    """Write the maps of a data set in any order and publish them atomically.

    Rows go to a memory-mapped temporary file next to ``path``; :meth:`commit` makes it durable
    and renames it. A crash before that leaves the old file unchanged. A ``with`` statement deletes
    the temporary file if it was not committed. Memory use is one bit per sample. A block is
    finished when its last required row is written, while it is still in memory: it gets the other
    rows from the base, then its checksum. So ordered rows go to the disk once and are never read
    back.

    Args:
        path: The file to write.
        num_samples: Number of maps.
        grid: Rows and columns of each map.
        fingerprint: Identity of the data set
            (:func:`~amt_mm.saliency.store.fingerprint`).
        step: Epoch or iteration of this refresh.
        dtype: ``'float16'`` or ``'uint8'``, half the size: 251 instead of 502 MB for
            ImageNet-1K at 14x14.
        base: Older maps of the same data set and grid, kept for samples that are not written. They
            are verified when copied. Defaults to None: every sample must be written.
        renewed: With a base, the samples that must be written nevertheless. Defaults to None: any
            sample may keep its older map, so that all blocks are finished by :meth:`commit`.

    Raises:
        InputError: ``dtype`` is unknown, the base belongs to another data set or grid, or there is
            no space for the file.
    """

    def __init__(self, path: str | os.PathLike, num_samples: int, grid: tuple[int, int],
                 fingerprint: str, step: int = 0, dtype: str = 'float16',
                 base: SaliencyStore | None = None, renewed: range | None = None) -> None:
        check_choice('dtype', dtype, SCALES)
        self.path = Path(path)
        self._header = MapHeader.new(num_samples, grid, dtype, fingerprint, step)
        self._base = base
        self._required = range(num_samples) if base is None else renewed or range(0)
        if base is not None:
            self._check_base(base)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._temporary = self.path.with_name(self.path.name + '.tmp')
        self._allocate()
        self._maps = np.memmap(self._temporary, STORED[dtype], 'r+', self._header.maps_start,
                               self._header.shape)
        self._written = np.zeros(-(-num_samples // 8), np.uint8)  # bit i of byte j: row 8 j + i
        blocks = self._header.blocks
        self._awaited = self._required_rows()
        self._table = np.zeros(blocks, np.uint32)
        self._has_checksum = np.zeros(blocks, bool)

    def __enter__(self) -> SaliencyWriter:
        """Return this writer."""
        return self

    def __exit__(self, kind: type | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        """Delete the temporary file if it was not committed."""
        self._temporary.unlink(missing_ok=True)

    def write(self, sample_idx: Tensor, maps: Tensor) -> None:
        """Write the maps of some samples; writing a sample again replaces its map.

        Args:
            sample_idx: ``(B,)`` int64.
            maps: ``(B, h * w)``, in [0, 1].

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
        self._mark_written(np.unique(rows))

    def commit(self) -> Path:
        """Make the file durable, rename it and return its path.

        Raises:
            RuntimeError: A required sample was not written.
            InputError: A block of the base is damaged.
        """
        missing = [row for block in np.flatnonzero(self._awaited) for row in self._missing(block)]
        if missing:
            raise RuntimeError(f'{len(missing)} of {len(self._required)} samples have no map, the '
                               f'first is sample {missing[0]}')
        # Block by block: a file larger than the memory is read back only once.
        for block in np.flatnonzero(~self._has_checksum):
            self._finish(block)
        self._maps.flush()
        with open(self._temporary, 'r+b') as file:
            file.write(pack_preamble(self._header, self._table))
        replace_durably(self._temporary, self.path)
        return self.path

    def _check_base(self, base: SaliencyStore) -> None:
        header = self._header
        if (base.fingerprint, base.num_samples) != (header.fingerprint, header.num_samples):
            raise InputError(f'{base.path}: these maps belong to another data set '
                             f'({base.fingerprint}, {base.num_samples} maps; this one is '
                             f'{header.fingerprint}, {header.num_samples}); refresh all samples')
        if base.grid != header.grid:
            raise InputError(f'{base.path}: maps of {base.grid[0]}x{base.grid[1]} cells cannot be '
                             f'kept in a file of {header.grid[0]}x{header.grid[1]}; refresh all '
                             'samples, or use the size of the older maps')

    def _allocate(self) -> None:
        """Allocate the file, so that a full disk is an error here, not a crash in a later write."""
        size = self._header.file_bytes
        # A link under its name is replaced, not followed.
        self._temporary.unlink(missing_ok=True)
        with open(self._temporary, 'xb') as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                self._temporary.unlink()
                if error.errno not in (errno.ENOSPC, errno.EFBIG, errno.EDQUOT):
                    raise
                free = shutil.disk_usage(self.path.parent).free
                raise InputError(f'{self.path}: no space for {self._header.num_samples} maps; '
                                 f'{size} bytes are needed, {free} are free') from error

    def _encode(self, maps: Tensor) -> np.ndarray:
        scale = SCALES[self._header.dtype]
        # By torch: numpy takes 20 times as long to round to float16.
        return (maps.half() if scale == 1 else (maps.float() * scale).round().byte()).numpy()

    def _required_rows(self) -> np.ndarray:
        """Count the required samples of each block, ``(blocks,)``."""
        edges = np.arange(self._header.blocks + 1) * self._header.block_rows
        required = self._required
        before = -(-(edges - required.start) // required.step)  # each edge, without limits
        return np.diff(before.clip(0, len(required)))

    def _mark_written(self, rows: np.ndarray) -> None:
        """Mark unique rows as written and finish the blocks that wait for no other."""
        byte, bit = rows >> 3, (1 << (rows & 7)).astype(np.uint8)
        fresh = rows[self._written[byte] & bit == 0]
        np.bitwise_or.at(self._written, byte, bit)
        size = self._header.block_rows
        # A finished block that is written again waits for the commit: otherwise writing all rows
        # twice, in any order, would compute one checksum per row.
        self._has_checksum[rows // size] = False
        required = self._required
        awaited = fresh[(fresh >= required.start) & (fresh < required.stop)
                        & ((fresh - required.start) % required.step == 0)]
        blocks, counts = np.unique(awaited // size, return_counts=True)
        self._awaited[blocks] -= counts
        for block in blocks[self._awaited[blocks] == 0]:
            # One process writes, and all commit: there a damaged base stops all of them.
            with suppress(InputError):
                self._finish(block)

    def _finish(self, block: int) -> None:
        """Copy what was not written from the base, and compute the checksum."""
        unwritten = self._unwritten_rows(block)
        if unwritten.any():
            self._copy_from_base(block, unwritten)
        self._table[block] = zlib.crc32(self._maps[self._header.rows(block)])
        self._has_checksum[block] = True

    def _unwritten_rows(self, block: int) -> np.ndarray:
        """Mark the rows of a block that were not written, ``(n,)`` bool."""
        rows = self._header.rows(block)
        bits = np.unpackbits(self._written[rows.start // 8:-(-rows.stop // 8)], bitorder='little')
        return bits[:rows.stop - rows.start] == 0

    def _missing(self, block: int) -> list[int]:
        """List the required samples of a block that were not written."""
        rows = self._header.rows(block).start + np.flatnonzero(self._unwritten_rows(block))
        return [row for row in rows.tolist() if row in self._required]

    def _copy_from_base(self, block: int, unwritten: np.ndarray) -> None:
        rows = self._header.rows(block)
        old = self._base.read_verified(rows)
        if old.dtype != self._maps.dtype:
            old = self._encode(decode(old))
        self._maps[rows][unwritten] = old[unwritten]
