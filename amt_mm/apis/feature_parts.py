"""Features on the way to their file, kept so that an interrupted run can continue."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from amt_mm.checkpoints.records import are_steps, is_step, is_text
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.checks import is_index
from amt_mm.config_parts import section
from amt_mm.errors import InputError
from amt_mm.json_files import read_json
from amt_mm.links import no_link


class FeatureParts:
    """Rows of features in a folder, and how far they go.

    Rows are appended to a plain file, so that a full disk is an error and nothing worse, and are
    mapped into memory to be read. What follows the last :meth:`save` is computed again.

    Args:
        folder: Of the parts; created if missing. Hold its lock.
        identity: What decides the features. A folder serves one identity only.
        dtype: Of the features.

    Attributes:
        batches: Number of batches that are done.
        rows: Number of rows.
        shape: Of a row; empty before the first one.
        left_out: Sample index -> why the image is unreadable.

    Raises:
        InputError: The folder holds features of another identity, and which part differs; or
            rows are missing, or their file is a symbolic link.
    """

    def __init__(self, folder: Path, identity: Mapping, dtype: type[np.floating]) -> None:
        self.folder, self.dtype = folder, np.dtype(dtype)
        self.batches, self.rows = 0, 0
        self.shape: tuple[int, ...] = ()
        self.left_out: dict[int, str] = {}
        settings, self._progress = folder / 'settings.json', folder / 'progress.json'
        if settings.is_file():
            before = section(read_json(settings))
            differing = [name for name in identity if before.get(name) != identity[name]]
            if differing:
                raise InputError(
                    f'{folder} holds features that were begun with other {", ".join(differing)}: '
                    'use the same again, name another file, or remove this folder')
        else:
            folder.mkdir(parents=True, exist_ok=True)
            # That of other features, whose removal was cut short.
            self._progress.unlink(missing_ok=True)
            write_text(settings, json.dumps(identity, indent=2))
        if self._progress.is_file():
            self._take_up(read_json(self._progress))
        self._file = open(  # noqa: SIM115  (closed by close)
            folder / 'rows', 'ab', opener=no_link)
        whole = self.rows * self._row_bytes
        if self._file.tell() < whole:
            # Truncating would fill it with zeros.
            raise InputError(f'{folder}: its file rows has {self._file.tell()} bytes and should '
                             f'have {whole}: remove this folder, so that all is computed again')
        # What was written after the last save, perhaps in part.
        self._file.truncate(whole)

    def _take_up(self, progress: object) -> None:
        kinds = {'batches': is_step, 'rows': is_step, 'shape': are_steps, 'left_out': _are_reasons}
        if not isinstance(progress, dict) or progress.keys() != kinds.keys() or not all(
                fits(progress[name]) for name, fits in kinds.items()):
            raise InputError(f'{self._progress} is damaged: remove this folder, so that all is '
                             'computed again')
        self.batches, self.rows = progress['batches'], progress['rows']
        self.shape = tuple(progress['shape'])
        self.left_out = {int(index): why for index, why in progress['left_out'].items()}

    @property
    def _row_bytes(self) -> int:
        return self.dtype.itemsize * math.prod(self.shape)

    def add(self, features: np.ndarray | None, left_out: Sequence[tuple[int, str]]) -> None:
        """Append what a batch gave.

        Args:
            features: ``(B, *shape)``; None if no image of the batch could be read.
            left_out: Sample index and reason of unreadable images.
        """
        rows = 0
        if features is not None:
            self.shape = features.shape[1:]
            self._file.write(np.ascontiguousarray(features, self.dtype).data)
            rows = len(features)
        self.left_out.update(left_out)
        # In one step: Ctrl-C between two would count the rows without their batch.
        self.rows, self.batches = self.rows + rows, self.batches + 1

    def save(self) -> None:
        """Make sure that all batches so far are on disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        write_text(self._progress, json.dumps(dict(
            batches=self.batches, rows=self.rows, shape=self.shape, left_out=self.left_out)))

    def array(self) -> np.ndarray:
        """Map all rows into memory, ``(rows, *shape)``; changes are not written back."""
        self._file.flush()
        return np.memmap(self.folder / 'rows', self.dtype, 'c', shape=(self.rows, *self.shape))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _are_reasons(value: object) -> bool:
    return isinstance(value, dict) and all(
        is_index(index) and is_text(why) for index, why in value.items())


def joined(path: Path, parts: Sequence[FeatureParts]) -> np.ndarray:
    """Map the rows of several folders into memory, one after the other.

    Args:
        path: Where they are copied to, if there are several.
        parts: At least one; those without a row are skipped.
    """
    parts = [part for part in parts if part.rows]
    if len(parts) == 1:
        return parts[0].array()
    with open(path, 'wb', opener=no_link) as file:
        for part in parts:
            file.write(part.array().data)
    rows = sum(part.rows for part in parts)
    return np.memmap(path, parts[0].dtype, 'c', shape=(rows, *parts[0].shape))
