"""Multiply-adds of a forward pass, counted by torch, once for each of a kind."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch.utils.flop_counter import FlopCounterMode

_COUNTED: dict[Hashable, int] = {}


def multiply_adds(forward: Callable[[], object], kind: Hashable) -> int:
    """Count the matrix products that torch runs, on the meta device: nothing is computed.

    Counting takes a quarter of a second, and the recipes of a study are many of few kinds.

    Args:
        forward: The forward pass. New tensors that it makes are on the meta device.
        kind: All that the count depends on, such as the network's config and the number of
            tokens. What is of one kind is counted once in a process.
    """
    if kind not in _COUNTED:
        with FlopCounterMode(display=False) as counter, torch.device('meta'):
            forward()
        _COUNTED[kind] = counter.get_total_flops() // 2  # torch counts two operations each
    return _COUNTED[kind]
