"""How often each token is masked, thrown and visible over many draws of a plan."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from amt_mm.errors import InputError

from .plan import MASKED, THROWN, VISIBLE


def count_states(draw: Callable[[], Tensor], draws: int) -> Tensor:
    """Count the states of each token over several plans of the same images.

    Args:
        draw: Draws a plan and returns its states, ``(B, N)``, as ``MaskPlan.states`` or
            ``TokenMask.states``.
        draws: Number of plans.

    Returns:
        ``(3, B, N)`` int64: how often each token was ``VISIBLE``, ``MASKED`` and ``THROWN``, in
        this order, which is that of their values. The three sum to ``draws``.

    Raises:
        InputError: ``draws`` is less than 1.
    """
    if draws < 1:
        raise InputError(f'draws={draws} must be at least 1')
    counts = 0
    for _ in range(draws):
        states = draw()
        counts = counts + torch.stack([states == state for state in (VISIBLE, MASKED, THROWN)])
    return counts.long()
