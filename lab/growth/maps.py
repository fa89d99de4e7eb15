"""A file of saliency maps of many samples: a refresh, a part of one, resuming and looking up."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from amt_mm.saliency import SaliencyStore, SaliencyWriter
from amt_mm.saliency.map_file import MapHeader

from .cost import Cost, cost, status

BATCH, ROWS, PARTS, REPEATS = 512, 4096, 8, 25


def measure_maps(header: MapHeader, folder: Path) -> dict[str, Cost | None]:
    """Cost of writing artificial maps, and of what reads them.

    Args:
        header: Of the file.
        folder: Where it lies meanwhile, and beside it another of the same size.

    Returns:
        Costs by the names of :data:`~lab.growth.curves.TIMES`, None for what is to come from the
        disk where the file system keeps everything in memory.
    """
    path, other = folder / 'maps', folder / 'other'
    found = {'write': write(path, header)}
    base = SaliencyStore(path, share=None)
    found['part'] = write(other, header, base)
    del base
    other.unlink()
    found['open'] = median(lambda: SaliencyStore(path, share=None))
    _, found['verify'] = cost(lambda: SaliencyStore(path))
    found['lookup'] = lookups_in_memory(path)
    found['lookup_disk'] = lookups_from_disk(path)
    found['verify_disk'] = cost(lambda: SaliencyStore(path))[1] if drop(path) else None
    path.unlink()
    return found


def write(path: Path, header: MapHeader, base: SaliencyStore | None = None) -> Cost:
    """Write and commit all maps; with a base, each eighth, as a refresh in parts does.

    The memory is the writer's own, without pages of the file.
    """
    rows = range(0, header.num_samples, 1 if base is None else PARTS)
    maps = torch.rand(ROWS, header.grid[0] * header.grid[1],
                      generator=torch.Generator().manual_seed(0))

    def refresh() -> int:
        before = status('RssAnon')
        with SaliencyWriter(path, header.num_samples, header.grid, header.fingerprint, header.step,
                            header.dtype, base, rows) as writer:
            for start in range(0, len(rows), ROWS):
                some = rows[start:start + ROWS]
                writer.write(torch.arange(some.start, some.stop, some.step), maps[:len(some)])
            own = status('RssAnon') - before
            writer.commit()
        return own

    own, taken = cost(refresh)
    return replace(taken, highest=own, kept=0)


def median(work: Callable[[], object]) -> Cost:
    """Median times of a short call."""
    times = []
    for _ in range(REPEATS):
        start, busy = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - start, time.process_time() - busy))
    return Cost(*np.median(times, axis=0).tolist(), 0, 0)


def random_rows(count: int) -> Iterator[torch.Tensor]:
    """Batches of random samples, without end."""
    chance = torch.Generator().manual_seed(0)
    while True:
        yield torch.randint(count, (BATCH, ), generator=chance)


def lookups_in_memory(path: Path) -> Cost:
    """Median of a look-up, and the memory that it adds to an open store."""
    own, store = status('RssAnon'), SaliencyStore(path, share=None)
    # The first rounds map the pages; another process may push some out meanwhile.
    rounds = []
    for _ in range(4):
        rows = random_rows(store.num_samples)
        rounds.append(median(lambda rows=rows: store.lookup(next(rows))))
    return replace(min(rounds, key=lambda each: each.seconds), highest=status('RssAnon') - own)


def lookups_from_disk(path: Path) -> Cost | None:
    """Median of the first look-up after opening, with nothing of the file in memory."""
    rows, times = random_rows(SaliencyStore(path, share=None).num_samples), []
    for _ in range(REPEATS):
        if not drop(path):
            return None
        store = SaliencyStore(path, share=None)
        some = next(rows)
        start, busy = time.perf_counter(), time.process_time()
        store.lookup(some)
        times.append((time.perf_counter() - start, time.process_time() - busy))
        del store  # else its pages could not be dropped
    return Cost(*np.median(times, axis=0).tolist(), 0, 0)


def drop(path: Path) -> bool:
    """Drop a file that is not mapped from the page cache; return whether that worked."""
    with open(path, 'rb', buffering=0) as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        places = np.linspace(0, path.stat().st_size - 1, 64).astype(int)
        return not any(_in_memory(file.fileno(), int(place)) for place in places)


def _in_memory(descriptor: int, place: int) -> bool:
    try:
        return os.preadv(descriptor, [bytearray(1)], place, os.RWF_NOWAIT) > 0
    except BlockingIOError:
        return False
    except OSError:  # a file system that always answers from memory, or cannot tell
        return True
