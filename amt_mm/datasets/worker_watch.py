"""What each loading process is reading, for the line that names one which died or hangs."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch.utils.data import get_worker_info

# Of a batch that is read at once, so many samples are named.
_MOST = 3
_live: weakref.WeakSet[WorkerWatch] = weakref.WeakSet()


@dataclass(frozen=True)
class Reading:
    """What a worker is doing.

    Attributes:
        worker: Its number.
        pid: Its process.
        seconds: For how long.
        names: Of the samples, the first ones of a batch.
        samples: How many there are.
    """

    worker: int
    pid: int
    seconds: float
    names: tuple[str, ...]
    samples: int


class WorkerWatch:
    """A table in shared memory, one row a worker: process, since when, which samples.

    A row costs two microseconds a sample to keep.

    Args:
        workers: Number of loading processes.
        names: Name of a sample by its index.
    """

    def __init__(self, workers: int, names: Callable[[int], str | None]) -> None:
        # Columns: process, begin in ns (0: idle), number of samples, the first ones.
        self._rows = torch.zeros(workers, 3 + _MOST, dtype=torch.int64).share_memory_()
        self._names = names
        self._pid = os.getpid()
        _live.add(self)

    @contextmanager
    def reading(self, *keys: int) -> Iterator[None]:
        """Keep note of what this worker reads; nothing outside of workers.

        Args:
            *keys: Indices of the samples.
        """
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
        """What a process is reading, None if it is none of ours or idle."""
        return next((reading for reading in self.all() if reading.pid == pid), None)

    def pids(self) -> list[int]:
        """Of the workers that have begun to read."""
        return [pid for pid in self._rows[:, 0].tolist() if pid]

    def number(self, pid: int) -> int | None:
        """Number of a worker by its process, None if it is none of ours."""
        found = (self._rows[:, 0] == pid).nonzero() if len(self._rows) else ()
        return int(found[0]) if len(found) else None

    def all(self) -> list[Reading]:
        """What the workers that are not idle are reading, the longest first."""
        readings = []
        for worker, (pid, begin, count, *first) in enumerate(self._rows.tolist()):
            if begin:
                names = tuple(self._names(index) or '' for index in first[:min(count, _MOST)])
                readings.append(Reading(worker, pid, (time.monotonic_ns() - begin) / 1e9, names,
                                        count))
        return sorted(readings, key=lambda reading: -reading.seconds)


def live_watches() -> list[WorkerWatch]:
    """All that this process has made and not yet given up."""
    return [watch for watch in _live if watch._pid == os.getpid()]
