"""Seed the random streams of Python, numpy and torch from counters, or preserve them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from mmengine.device import get_device
from mmengine.dist import get_rank

# Purposes of streams: equal counters give each purpose a stream of its own.
LOADING, STEP, SAMPLES = 1, 2, 3


def seed_sequence(seed: int, count: int, purpose: int) -> np.random.SeedSequence:
    """Seed sequence of this rank.

    Args:
        seed: Of the run.
        count: Iteration, or pass over the data.
        purpose: ``LOADING``, ``STEP`` or ``SAMPLES``.
    """
    return np.random.SeedSequence([seed, count, get_rank(), purpose])


def seed_iteration(seed: int, iteration: int, purpose: int) -> None:
    """Seed all streams of this process, those of its accelerator too, for an iteration.

    Args:
        seed: Of the run.
        iteration: Counted from 0.
        purpose: ``STEP``, or ``LOADING`` for what precedes the step.
    """
    python, numpy, both = seed_sequence(seed, iteration, purpose).generate_state(3)
    random.seed(int(python))
    np.random.seed(numpy)
    # Without an accelerator, torch.manual_seed takes 190 us to find none.
    seed_torch = torch.default_generator if get_device() == 'cpu' else torch
    seed_torch.manual_seed(int(both))


def seed_cpu_streams(seed: int) -> None:
    """Seed the CPU streams of Python, numpy and torch; takes 8 us.

    Args:
        seed: 64 bits: all for Python, the upper half for numpy, the lower for torch.
    """
    random.seed(seed)
    np.random.seed(seed >> 32)
    torch.default_generator.manual_seed(seed & 0xffffffff)


@contextmanager
def kept_cpu_streams() -> Iterator[None]:
    """Restore the CPU streams of Python, numpy and torch afterwards."""
    python, numpy, on_cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(on_cpu)


@contextmanager
def kept_random_streams() -> Iterator[None]:
    """Restore all random streams of this process afterwards, those of its GPU too."""
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with kept_cpu_streams(), torch.random.fork_rng(devices):
        yield
