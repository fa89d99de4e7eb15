"""Time and memory of one call in this process."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What a call took.

    Attributes:
        seconds: Time passed.
        processor: Processor time of this process, in seconds.
        highest: Bytes in use beyond those before, at most, pages of files included.
        kept: Bytes of its own that the process has more at the end.
    """

    seconds: float
    processor: float
    highest: int
    kept: int


def status(name: str) -> int:
    """Bytes by a line of the process's status: ``'RssAnon'``, its own; ``'VmHWM'``, highest."""
    text = Path('/proc/self/status').read_text()
    return int(text.split(f'{name}:')[1].split()[0]) * 1024


def cost(work: Callable[[], object]) -> tuple[object, Cost]:
    """Call something; return its result and what it took."""
    gc.collect()
    Path('/proc/self/clear_refs').write_text('5')  # the highest use counts from here
    own, whole = status('RssAnon'), status('VmRSS')
    start, busy = time.perf_counter(), time.process_time()
    result = work()
    seconds, processor = time.perf_counter() - start, time.process_time() - busy
    highest = status('VmHWM') - whole
    gc.collect()
    return result, Cost(seconds, processor, highest, status('RssAnon') - own)
