"""Whether a step makes the host wait for the device."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable

import torch

from lab.benchmark.clock import PHASES

from .check import Failed


class NoClock:
    """A clock that does not wait for the device, as that of a GPU does at the end."""

    def start(self) -> None:
        """Do nothing."""

    def mark(self) -> None:
        """Do nothing."""

    def seconds(self) -> list[float]:
        """No time for any phase."""
        return [float('nan')] * len(PHASES)


def waits(step: Callable[[], object]) -> Counter:
    """Places at which a call waits for the GPU, and how often, by torch's debug mode."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        torch.cuda.set_sync_debug_mode('warn')
        try:
            step()
        finally:
            torch.cuda.set_sync_debug_mode('default')
    return Counter(f'{each.filename}:{each.lineno}' for each in caught
                   if 'synchronizing CUDA operation' in str(each.message))


def check_waiting(step: Callable[[], object]) -> dict:
    """Cells of the table.

    Raises:
        Failed: The step waits.
    """
    if not torch.cuda.is_available():
        return dict(outcome='skipped: needs a GPU')
    step()  # the first makes what later ones have, such as the moments of the optimiser
    if found := waits(step):
        place, _ = found.most_common(1)[0]
        raise Failed(f'{found.total()} operations wait for the device, the most at {place}')
    return dict(outcome='no operation waits')
