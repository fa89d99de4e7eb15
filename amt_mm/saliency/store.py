"""SaliencyStore: one saliency map per sample, read from one checked file."""

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

from .map_file import SCALES, STORED, read_front


def fingerprint(names: Iterable[str]) -> str:
    """Identity of a data set: how many samples, and which, in which order.

    Args:
        names: One name a sample, such as its path relative to the data root.

    Returns:
        ``'<count>-<hash>'``.
    """
    digest, count = hashlib.sha256(), 0
    for name in names:
        digest.update(name.encode('utf-8', 'surrogateescape') + b'\0')
        count += 1
    return f'{count}-{digest.hexdigest()[:32]}'


def decode(maps: np.ndarray) -> Tensor:
    """Maps in [0, 1], fp32, from maps as stored, of any shape."""
    return torch.from_numpy(maps.astype(np.float32)) / SCALES[maps.dtype.name]


class SaliencyStore:
    """Read the maps of a data set, by sample.

    Ranks and workers of a node map the same file into memory and share its pages.
    Opening reads header and table of checksums, some millionths of the file; the maps
    themselves are compared with the table as ``share`` says.

    Args:
        path: A file written by :class:`~amt_mm.saliency.writer.SaliencyWriter`.
        fingerprint: Identity that the file must carry (:func:`fingerprint`).
        share: Which part of the maps to verify, as ``(part, parts)``. Defaults to all,
            ``(0, 1)``. Processes that open the same file can verify a part each, if all
            learn of a failure in one. None verifies nothing: right for a file that this
            run has just written, whose maps have not left the memory of the machine.

    Attributes:
        num_samples: Number of maps.
        grid: Rows and columns of each map.
        dtype: Type of the stored maps, ``'float16'`` or ``'uint8'``.
        fingerprint: Identity of the data set the maps belong to.
        step: Epoch or iteration at which the maps were made.
        crc32: Checksum of header and table, and so of the whole file.

    Raises:
        InputError: No such file, a file of another kind, a damaged one, or maps
            of another data set.
    """

    def __init__(self, path: str | os.PathLike, fingerprint: str | None = None,
                 share: tuple[int, int] | None = (0, 1)) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f'{self.path}: no such saliency map')
        # One opening for all: the file that is verified is the one that is mapped, also
        # where another takes its name meanwhile.
        with open(self.path, 'rb', buffering=0) as file:
            self._header, self._table, self.crc32 = read_front(file, self.path)
            self.num_samples: int = self._header.num_samples
            self.grid: tuple[int, int] = self._header.grid
            self.dtype: str = self._header.dtype
            self.fingerprint: str = self._header.fingerprint
            self.step: int = self._header.step
            self._check_fingerprint(fingerprint)
            if share is not None:
                self._verify(file, *share)
            mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            # A map is a tenth of a page, and the next one read lies anywhere: reading ahead
            # would fetch some hundred times what is asked for.
            mapping.madvise(mmap.MADV_RANDOM)
            self._maps = np.ndarray(self._header.shape, STORED[self.dtype], mapping,
                                    self._header.maps_start)

    def lookup(self, sample_idx: Tensor) -> Tensor:
        """Maps of some samples.

        Args:
            sample_idx: ``(B,)`` int64 on the CPU.

        Returns:
            ``(B, h, w)`` fp32 on the CPU, values in [0, 1]; a map of zeros means
            that nothing is known of this sample.

        Raises:
            InputError: An index outside the data set.
        """
        rows = sample_idx.numpy()
        if len(rows) and (rows.min() < 0 or rows.max() >= self.num_samples):
            raise InputError(f'sample_idx {int(rows.min())}..{int(rows.max())} lies outside the '
                             f'{self.num_samples} maps of {self.path}')
        return decode(self._maps[rows])

    def verified(self, rows: slice) -> np.ndarray:
        """Maps of samples that follow each other, as stored, compared with the table first.

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
            # A block in one read: without reading ahead it would be one a page.
            self._maps.base.madvise(mmap.MADV_WILLNEED, start, header.maps_start
                                    + place.stop * header.row_bytes - start)
            self._compare(block, self._maps[place])
        return self._maps[rows]

    def _check_fingerprint(self, fingerprint: str | None) -> None:
        if fingerprint is not None and fingerprint != self.fingerprint:
            raise InputError(
                f'{self.path}: these maps belong to another data set ({self.fingerprint}, this one '
                f'is {fingerprint}); use the work_dir of this data set, or start without resuming')

    def _verify(self, file: BinaryIO, part: int, parts: int) -> None:
        """Compare one of equal parts of the blocks with the table.

        Read, not mapped: a page that a disk cannot deliver is an error then, and no
        signal that ends the process; and the pages do not count as this process's.
        """
        header = self._header
        first, last = (header.blocks * n // parts for n in (part, part + 1))
        # A forged header may claim blocks of any size; none holds more than the file.
        most = min(header.block_rows, header.num_samples)
        buffer = memoryview(bytearray(most * header.row_bytes))
        file.seek(header.maps_start + first * header.block_rows * header.row_bytes)
        for block in range(first, last):
            rows = header.rows(block)
            content = buffer[:(rows.stop - rows.start) * header.row_bytes]
            self._fill(file, content, block)
            self._compare(block, content)

    def _fill(self, file: BinaryIO, content: memoryview, block: int) -> None:
        filled = 0
        while filled < len(content):
            try:
                read = file.readinto(content[filled:])
            except OSError as error:
                raise self._damaged(block, f'cannot be read ({error.strerror})') from error
            if not read:
                raise self._damaged(block, 'have gone while they were read')
            filled += read

    def _compare(self, block: int, content: memoryview | np.ndarray) -> None:
        if zlib.crc32(content) != self._table[block]:
            raise self._damaged(block, 'are damaged (checksum differs)')

    def _damaged(self, block: int, what: str) -> InputError:
        rows = self._header.rows(block)
        return InputError(f'{self.path}: the maps of samples {rows.start} to {rows.stop - 1} '
                          f'{what}; resume from a checkpoint with other maps, or bring this file '
                          'back from a copy')
