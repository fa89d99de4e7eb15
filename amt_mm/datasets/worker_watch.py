"""What each loader worker is reading, to name the sample when one dies or hangs."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.utils.data import get_worker_info

# Number of samples named of a batch that is read at once.
_MOST = 3
_live: weakref.WeakSet[WorkerWatch] = weakref.WeakSet()


@dataclass(frozen=True)
class Reading:
    """What a worker is reading.

    Attributes:
        worker: Its number.
        pid: Its process.
        seconds: Since it started reading.
        names: Of the samples, the first ones of a batch.
        samples: Number of samples.
    """

    worker: int
    pid: int
    seconds: float
    names: tuple[str, ...]
    samples: int


class WorkerWatch:
    """A table in shared memory with one row per worker: process, start, samples.

    Updating a row takes two microseconds per sample.

    Args:
        workers: Number of loader workers.
        names: Maps a sample index to its name.
    """

    def __init__(self, workers: int, names: Callable[[int], str | None]) -> None:
        # Columns: process, start in ns (0: idle), number of samples, the first ones.
        self._rows = torch.zeros(workers, 3 + _MOST, dtype=torch.int64).share_memory_()
        self._names = names
        self._pid = os.getpid()
        _live.add(self)

    @contextmanager
    def reading(self, *keys: int) -> Iterator[None]:
        """Record that this worker reads the samples; no effect outside workers."""
        info = get_worker_info()
        if info is None or info.id >= len(self._rows):
            yield
            return
        row = self._rows[info.id].numpy()
        row[3:3 + min(len(keys), _MOST)] = keys[:_MOST]
        row[:3] = os.getpid(), time.monotonic_ns(), len(keys)
        try:
            yield
        finally:
            row[1] = 0

    def of(self, pid: int) -> Reading | None:
        """Return what a process is reading, None if it is unknown or idle."""
        return next((reading for reading in self.all() if reading.pid == pid), None)

    def number(self, pid: int) -> int | None:
        """Return the number of a worker by its process, None if unknown."""
        found = (self._rows[:, 0] == pid).nonzero() if len(self._rows) else ()
        return int(found[0]) if len(found) else None

    def all(self) -> list[Reading]:
        """Return what the busy workers are reading, the longest first."""
        readings = []
        for worker, (pid, begin, count, *first) in enumerate(self._rows.tolist()):
            if begin:
                names = tuple(self._names(index) or '' for index in first[:min(count, _MOST)])
                readings.append(Reading(worker, pid, (time.monotonic_ns() - begin) / 1e9, names,
                                        count))
        return sorted(readings, key=lambda reading: -reading.seconds)


def live_watches() -> list[WorkerWatch]:
    """Return all watches that this process has created and that still exist."""
    return [watch for watch in _live if watch._pid == os.getpid()]
