"""SaliencyStore: one saliency map per sample, in one checked file.

File layout: 4096 bytes of header (magic, then JSON padded with spaces), then the
maps as one plain array ``(num_samples, h, w)``. Ranks and workers of a node map the
same file into memory and share its pages; nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from amt_mm.errors import InputError

MAGIC = b'AMTMAP01'
_HEADER_BYTES = 4096
_FIELDS = {'num_samples': int, 'grid': list, 'dtype': str, 'fingerprint': str, 'step': int,
           'crc32': int}
# Maps lie in [0, 1]. float16 keeps steps finer than 1/1000, uint8 halves the file.
_SCALE = {'float16': 1.0, 'uint8': 255.0}


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


class SaliencyStore:
    """Read the maps of a data set, by sample.

    Args:
        path: A file written by :class:`SaliencyWriter`.
        fingerprint: Identity that the file must carry (:func:`fingerprint`).

    Attributes:
        num_samples: Number of maps.
        grid: Rows and columns of each map.
        fingerprint: Identity of the data set the maps belong to.
        step: Epoch or iteration at which the maps were made.
        crc32: Checksum of header and maps.

    Raises:
        InputError: No such file, a file of another kind, a damaged one, or maps
            of another data set.
    """

    def __init__(self, path: str | os.PathLike, fingerprint: str | None = None) -> None:
        self.path = Path(path)
        header = _read_header(self.path)
        self.num_samples: int = header['num_samples']
        self.grid: tuple[int, int] = tuple(header['grid'])
        self.fingerprint: str = header['fingerprint']
        self.step: int = header['step']
        dtype, shape = np.dtype(header['dtype']), (self.num_samples, *self.grid)
        size = _HEADER_BYTES + int(np.prod(shape)) * dtype.itemsize
        if self.path.stat().st_size != size:
            raise InputError(f'{self.path}: the file is cut short or too long '
                             f'({self.path.stat().st_size} bytes instead of {size})')
        self._scale = _SCALE[header['dtype']]
        self._maps = np.memmap(self.path, dtype=dtype, mode='r', offset=_HEADER_BYTES, shape=shape)
        self.crc32: int = header['crc32']
        if _checksum(header, self._maps) != self.crc32:
            raise InputError(f'{self.path}: checksum differs, the file is damaged')
        if fingerprint is not None and fingerprint != self.fingerprint:
            raise InputError(
                f'{self.path}: these maps belong to another data set ({self.fingerprint}, this one '
                f'is {fingerprint}); use the work_dir of this data set, or start without resuming')

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
        return torch.from_numpy(self._maps[rows].astype(np.float32)) / self._scale


class SaliencyWriter:
    """Write the maps of a data set, in any order, and publish them at once.

    Rows go to a temporary file beside ``path``; :meth:`commit` makes it durable and
    renames it. A crash before that leaves the old file as it was.

    Args:
        path: The file to make.
        num_samples: Number of maps.
        grid: Rows and columns of each map.
        fingerprint: Identity of the data set (:func:`fingerprint`).
        step: Epoch or iteration of this refresh.
        dtype: ``'float16'`` or ``'uint8'``, half the size: 251 instead of 502 MB for
            ImageNet-1K at 14x14.
    """

    def __init__(self, path: str | os.PathLike, num_samples: int, grid: tuple[int, int],
                 fingerprint: str, step: int = 0, dtype: str = 'float16') -> None:
        if dtype not in _SCALE:
            raise InputError(f'dtype={dtype!r} is unknown: use one of {", ".join(_SCALE)}')
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._header = dict(num_samples=num_samples, grid=list(grid), dtype=dtype,
                            fingerprint=fingerprint, step=step)
        self._temporary = self.path.with_name(self.path.name + '.tmp')
        shape = (num_samples, *grid)
        with open(self._temporary, 'wb') as file:
            # Reserves the space: a full disk is an error here, not a crash in a later write.
            os.posix_fallocate(file.fileno(), 0,
                               _HEADER_BYTES + int(np.prod(shape)) * np.dtype(dtype).itemsize)
        self._maps = np.memmap(self._temporary, dtype=dtype, mode='r+', offset=_HEADER_BYTES,
                               shape=shape)
        self._written = np.zeros(num_samples, dtype=bool)

    def write(self, sample_idx: Tensor, maps: Tensor) -> None:
        """Write some rows; writing one twice with the same map is harmless.

        Args:
            sample_idx: ``(B,)`` int64.
            maps: ``(B, h * w)``, values in [0, 1].
        """
        rows = sample_idx.cpu().numpy()
        values = maps.detach().float().cpu().reshape(len(rows), *self._header['grid'])
        scale = _SCALE[self._header['dtype']]
        values = (values * scale).round() if scale != 1 else values
        self._maps[rows] = values.numpy().astype(self._maps.dtype)
        self._written[rows] = True

    def commit(self) -> Path:
        """Make the file durable, give it its name, and return that.

        Raises:
            RuntimeError: Some sample never got a map.
        """
        missing = np.flatnonzero(~self._written)
        if len(missing):
            raise RuntimeError(f'{len(missing)} of {len(self._written)} samples got no map, '
                               f'the first is sample {missing[0]}')
        crc32 = _checksum(self._header, self._maps)
        header = json.dumps({**self._header, 'crc32': crc32}).encode()
        self._maps.flush()
        with open(self._temporary, 'r+b') as file:
            file.write((MAGIC + header).ljust(_HEADER_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.replace(self._temporary, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return self.path


def _read_header(path: Path) -> dict:
    if not path.is_file():
        raise InputError(f'{path}: no such saliency map')
    with open(path, 'rb') as file:
        raw = file.read(_HEADER_BYTES)
    if not raw.startswith(MAGIC):
        raise InputError(f'{path}: this is no saliency map of amt_mm')
    try:
        header = json.loads(raw[len(MAGIC):])
        valid = (all(type(header[name]) is kind for name, kind in _FIELDS.items())
                 and header['dtype'] in _SCALE and header['num_samples'] > 0
                 and len(header['grid']) == 2 and all(type(n) is int and n > 0
                                                      for n in header['grid']))
    except (ValueError, KeyError, TypeError, UnicodeDecodeError):
        valid = False
    if not valid:
        raise InputError(f'{path}: the header of this saliency map is damaged')
    return header


def _checksum(header: dict, maps: np.ndarray, rows: int = 16384) -> int:
    """CRC of the header's fields, but for the checksum itself, and of the maps."""
    crc = zlib.crc32(json.dumps([header[name] for name in _FIELDS if name != 'crc32']).encode())
    for start in range(0, len(maps), rows):
        crc = zlib.crc32(np.ascontiguousarray(maps[start:start + rows]), crc)
    return crc
