"""Let contestants take steps in turn, so that noise of the machine affects all alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from .clock import NETWORK, STEP, CPUClock, CUDAClock, clock_of
from .contestant import Contestant

# Sides of the square matrices, large enough to reach the machine's peak.
PRODUCT_SIDE = {'cpu': 2048, 'cuda': 8192}


@dataclass(frozen=True)
class Race:
    """Measurements.

    Attributes:
        seconds: Of each phase, ``(rounds, contestants, phases)``.
        peaks: Multiply-adds per second of a plain matrix product in each round, ``(rounds, )``.
    """

    seconds: np.ndarray
    peaks: np.ndarray

    @property
    def step(self) -> np.ndarray:
        """Seconds of a whole step without reading, ``(rounds, contestants)``."""
        return self.seconds[:, :, STEP].sum(axis=2)

    @property
    def network(self) -> np.ndarray:
        """Seconds of forward and backward, ``(rounds, contestants)``."""
        return self.seconds[:, :, NETWORK].sum(axis=2)

    def share_of_peak(self, index: int, multiply_adds: float) -> float:
        """Multiply-adds per second of forward and backward relative to the matrix product.

        Args:
            index: Of the contestant.
            multiply_adds: Of the forward pass of a whole batch; the backward pass has twice
                as many, for the gradient of either factor.
        """
        return float(np.median(3 * multiply_adds / self.network[:, index] / self.peaks))


def race(contestants: Sequence[Contestant], rounds: int, warm_up: int = 2, bf16: bool = False,
         processor_time: bool = False, side: int | None = None) -> Race:
    """Let all take a step in each round, and measure the machine's peak beside them.

    Each round starts with the next contestant, so that the order varies.

    Args:
        contestants: At least one.
        rounds: Measured rounds.
        warm_up: Unmeasured rounds before.
        bf16: Whether the contestants, and so the matrix product, compute in bfloat16.
        processor_time: See :func:`~lab.benchmark.clock.clock_of`.
        side: See :class:`MatrixProduct`.
    """
    device = contestants[0].device
    clock = clock_of(device, processor_time)
    product = MatrixProduct(device, bf16, clock, side)
    seconds, peaks = [], []
    for i in tqdm(range(warm_up + rounds), desc='rounds', disable=None):
        peaks.append(product.speed())
        order = [(i + k) % len(contestants) for k in range(len(contestants))]
        taken = {index: contestants[index].step(clock) for index in order}
        seconds.append([taken[index] for index in range(len(contestants))])
    return Race(np.array(seconds[warm_up:]), np.array(peaks[warm_up:]))


def ratios(times: np.ndarray) -> np.ndarray:
    """Time of each relative to the first, ``(contestants, )``.

    The median of the ratios within rounds varies less than a ratio of medians, as the machine is
    nearly the same within a round.

    Args:
        times: ``(rounds, contestants)``.
    """
    return np.median(times / times[:, :1], axis=0)


class MatrixProduct:
    """A product of two square matrices, with the type and threads of the contestants.

    Args:
        device: Where.
        bf16: In bfloat16 instead of fp32.
        clock: Of the device.
        side: Rows and columns of a matrix. Defaults to None: enough to reach the peak,
            :data:`PRODUCT_SIDE`.
    """

    def __init__(self, device: torch.device, bf16: bool, clock: CPUClock | CUDAClock,
                 side: int | None = None) -> None:
        self.side = side or PRODUCT_SIDE[device.type]
        dtype = torch.bfloat16 if bf16 else torch.float32
        self._factors = torch.rand(2, self.side, self.side, device=device, dtype=dtype)
        self._product = torch.empty_like(self._factors[0])
        self._clock = clock

    def speed(self, tries: int = 3) -> float:
        """Multiply-adds per second, the best of several tries."""
        self._clock.start()
        for _ in range(tries):
            torch.mm(*self._factors, out=self._product)
            self._clock.mark()
        return self.side**3 / min(self._clock.seconds())
