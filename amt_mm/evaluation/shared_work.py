"""Compute numbers by all processes together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from mmengine.dist import all_reduce, get_dist_info
from torch import Tensor

from amt_mm.distributed import waiting_for_all

_T = TypeVar('_T')


def shared_numbers(compute: Callable[[Sequence[_T]], Sequence[float]], tasks: Sequence[_T],
                   device: torch.device | str = 'cpu') -> Tensor:
    """Compute a number for each task; each process computes its share, and all get all numbers.

    All processes must call it with the same tasks, and wait for the slowest as long as it takes.

    Args:
        compute: Returns the numbers of some of the tasks. It is not called without any.
        tasks: Anything.
        device: A device that the processes can exchange from.

    Returns:
        ``(len(tasks),)`` float64, on the CPU.
    """
    rank, world_size = get_dist_info()
    found = torch.zeros(len(tasks), dtype=torch.float64, device=device)
    with waiting_for_all():
        if own := tasks[rank::world_size]:
            found[rank::world_size] = torch.tensor(compute(own), dtype=torch.float64,
                                                   device=device)
    all_reduce(found)
    return found.cpu()
