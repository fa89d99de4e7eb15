"""Multiply-adds of a forward pass, counted by torch once per kind."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch
from torch.utils.flop_counter import FlopCounterMode

_COUNTED: dict[Hashable, int] = {}


def multiply_adds(forward: Callable[[], object], kind: Hashable) -> int:
    """Count the matrix products that torch runs on the meta device, without computing them.

    Counting takes a quarter of a second, and a study has many recipes of few kinds.

    Args:
        forward: The forward pass; tensors that it creates are on the meta device.
        kind: All that the count depends on, such as the network's config and number of tokens;
            the key of the cache.
    """
    if kind not in _COUNTED:
        with FlopCounterMode(display=False) as counter, torch.device('meta'):
            forward()
        _COUNTED[kind] = counter.get_total_flops() // 2  # torch counts two operations each
    return _COUNTED[kind]
