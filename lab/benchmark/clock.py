"""Clocks for the phases of a step."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from amt_mm.errors import InputError

# In the order of a step. Workers do the first in parallel, so it does not count for a step.
PHASES = ('data', 'prepare', 'forward', 'backward', 'optimise')
STEP = slice(1, None)
NETWORK = slice(2, 4)  # forward and backward


class CPUClock:
    """Clock of a CPU.

    Args:
        now: Seconds. Defaults to wall time; ``time.process_time`` counts what this process
            computes, not the time that others hold the core.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now

    def start(self) -> None:
        """Begin a step."""
        self._marks = [self._now()]

    def mark(self) -> None:
        """End a phase."""
        self._marks.append(self._now())

    def seconds(self) -> list[float]:
        """End the step: seconds of each phase."""
        return [end - begin for begin, end in zip(self._marks, self._marks[1:], strict=False)]


class CUDAClock:
    """Clock of a GPU's stream, with events in it.

    Nothing waits between phases, so host and device overlap as in training; idle time of the device
    is counted in the phase whose work it waits for.
    """

    def start(self) -> None:
        """Begin a step."""
        self._marks = []
        self.mark()

    def mark(self) -> None:
        """End a phase."""
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        self._marks.append(event)

    def seconds(self) -> list[float]:
        """Wait for the device, and end the step: seconds of each phase."""
        torch.cuda.synchronize()
        return [begin.elapsed_time(end) / 1e3
                for begin, end in zip(self._marks, self._marks[1:], strict=False)]


def check_processor_time() -> None:
    """Refuse to count processor time where it is not that of a quiet machine.

    Raises:
        InputError: Several threads compute, or a GPU does.
    """
    if torch.cuda.is_available() or torch.get_num_threads() > 1:
        raise InputError('--processor-time is for one thread of a CPU: set OMP_NUM_THREADS=1 (and '
                         'CUDA_VISIBLE_DEVICES= if there is a GPU)')


def clock_of(device: torch.device, processor_time: bool = False) -> CPUClock | CUDAClock:
    """The clock of a device.

    Args:
        device: Where steps run.
        processor_time: On a CPU, count processor time. With one thread it is the time on an idle
            machine, except for shared caches and memory.
    """
    if device.type == 'cuda':
        return CUDAClock()
    return CPUClock(time.process_time if processor_time else time.perf_counter)
