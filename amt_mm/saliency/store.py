"""SaliencyStore: one saliency map per sample, read from one verified file."""

from __future__ import annotations

import hashlib
import mmap
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from amt_mm.errors import InputError

from .map_file import SCALES, STORED, read_preamble


def fingerprint(names: Iterable[str]) -> str:
    """Identify a data set by the number, names and order of its samples.

    Args:
        names: One name per sample, such as its path relative to the data root.

    Returns:
        ``'<count>-<hash>'``.
    """
    digest, count = hashlib.sha256(), 0
    for name in names:
        digest.update(name.encode('utf-8', 'surrogateescape') + b'\0')
        count += 1
    return f'{count}-{digest.hexdigest()[:32]}'


def decode(maps: np.ndarray) -> Tensor:
    """Convert stored maps, of any shape, to fp32 in [0, 1]."""
    return torch.from_numpy(maps.astype(np.float32)) / SCALES[maps.dtype.name]


class SaliencyStore:
    """Read the maps of a data set by sample.

    All processes of a node map the same file into memory and share its pages. Opening reads the
    header and the table of checksums, a few millionths of the file, and verifies the maps against
    the table according to ``share``.

    Args:
        path: A file written by :class:`~amt_mm.saliency.writer.SaliencyWriter`.
        fingerprint: Identity that the file must have (:func:`fingerprint`).
        share: Part of the maps to verify, as ``(part, parts)``. Defaults to ``(0, 1)``, all.
            Processes that open the same file can verify one part each, provided that all learn of a
            failure in one. None verifies nothing, for a file that this run has just written and
            that is still in memory.

    Attributes:
        num_samples: Number of maps.
        grid: Rows and columns of each map.
        dtype: Type of the stored maps, ``'float16'`` or ``'uint8'``.
        fingerprint: Identity of the data set.
        step: Epoch or iteration at which the maps were made.
        crc32: Checksum of header and table, and thereby of the whole file.

    Raises:
        InputError: The file does not exist, is of another kind or damaged, or its maps belong to
            another data set.
    """

    def __init__(self, path: str | os.PathLike, fingerprint: str | None = None,
                 share: tuple[int, int] | None = (0, 1)) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f'{self.path}: no such saliency map')
        # Opened once: the verified file is the mapped one, even if it is replaced meanwhile.
        with open(self.path, 'rb', buffering=0) as file:
            self._header, self._table, self.crc32 = read_preamble(file, self.path)
            self.num_samples: int = self._header.num_samples
            self.grid: tuple[int, int] = self._header.grid
            self.dtype: str = self._header.dtype
            self.fingerprint: str = self._header.fingerprint
            self.step: int = self._header.step
            self._check_fingerprint(fingerprint)
            if share is not None:
                self._verify(file, *share)
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            # A map is a tenth of a page and the next one read lies anywhere: reading ahead would
            # fetch about a hundred times as much as needed.
            mapping.madvise(mmap.MADV_RANDOM)
            self._maps = np.ndarray(self._header.shape, STORED[self.dtype], mapping,
                                    self._header.maps_start)

    def lookup(self, sample_idx: Tensor) -> Tensor:
        """Look up the maps of some samples.

        Args:
            sample_idx: ``(B,)`` int64 on the CPU.

        Returns:
            ``(B, h, w)`` fp32 on the CPU, in [0, 1]; zeros mean "no preference".

        Raises:
            InputError: An index outside the data set.
        """
        rows = sample_idx.numpy()
        if len(rows) and (rows.min() < 0 or rows.max() >= self.num_samples):
            raise InputError(f'sample_idx {int(rows.min())}..{int(rows.max())} lies outside the '
                             f'{self.num_samples} maps of {self.path}')
        return decode(self._maps[rows])

    def read_verified(self, rows: slice) -> np.ndarray:
        """Verify the maps of consecutive samples and return them as stored.

        Args:
            rows: Start and stop, within the data set.

        Returns:
            ``(n, h, w)`` of type ``dtype``, a view of the file.

        Raises:
            InputError: A damaged block.
        """
        header = self._header
        for block in range(rows.start // header.block_rows, -(-rows.stop // header.block_rows)):
            place = header.rows(block)
            start = header.maps_start + place.start * header.row_bytes
            start -= start % mmap.PAGESIZE
            # Reads a block at once: without reading ahead there would be one read per page.
            self._maps.base.madvise(mmap.MADV_WILLNEED, start, header.maps_start
                                    + place.stop * header.row_bytes - start)
            self._check_block(block, self._maps[place])
        return self._maps[rows]

    def _check_fingerprint(self, fingerprint: str | None) -> None:
        if fingerprint is not None and fingerprint != self.fingerprint:
            raise InputError(
                f'{self.path}: these maps belong to another data set ({self.fingerprint}, this one '
                f'is {fingerprint}); use the work_dir of this data set or start without resuming')

    def _verify(self, file: BinaryIO, part: int, parts: int) -> None:
        """Verify one of equal parts of the blocks.

        They are read, not mapped: an unreadable page then is an error instead of a signal that ends
        the process, and the pages do not count as memory of this process.
        """
        header = self._header
        first, last = (header.blocks * n // parts for n in (part, part + 1))
        # A forged header may claim any block size; no block is larger than the file.
        most = min(header.block_rows, header.num_samples)
        buffer = memoryview(bytearray(most * header.row_bytes))
        file.seek(header.maps_start + first * header.block_rows * header.row_bytes)
        for block in range(first, last):
            rows = header.rows(block)
            content = buffer[:(rows.stop - rows.start) * header.row_bytes]
            self._read_block(file, content, block)
            self._check_block(block, content)

    def _read_block(self, file: BinaryIO, content: memoryview, block: int) -> None:
        filled = 0
        while filled < len(content):
            try:
                read = file.readinto(content[filled:])
            except OSError as error:
                raise self._block_error(block, f'cannot be read ({error.strerror})') from error
            if not read:
                raise self._block_error(block, 'disappeared while being read')
            filled += read

    def _check_block(self, block: int, content: memoryview | np.ndarray) -> None:
        if zlib.crc32(content) != self._table[block]:
            raise self._block_error(block, 'are damaged (checksum mismatch)')

    def _block_error(self, block: int, problem: str) -> InputError:
        rows = self._header.rows(block)
        return InputError(f'{self.path}: the maps of samples {rows.start} to {rows.stop - 1} '
                          f'{problem}; resume from a checkpoint with other maps or restore this '
                          'file from a copy')
