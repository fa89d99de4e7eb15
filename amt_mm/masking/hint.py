"""Hints: tokens revealed to the encoder that would otherwise be masked."""

from __future__ import annotations

import torch
from torch import Tensor

from amt_mm.errors import InputError

from .ranking import shuffle_tokens
from .ratios import check_share, floor_share


def check_hint_ratio(hint_ratio: float, mask_ratio: float, throw_ratio: float) -> None:
    """Check that there are enough visible tokens to mask in place of the hints.

    Raises:
        InputError: ``hint_ratio`` is not a number from 0 to less than 1, or too large.
    """
    check_share(hint_ratio, 'hint_ratio')
    if hint_ratio * mask_ratio > 1 - mask_ratio - throw_ratio + 1e-9:
        raise InputError(f'hint_ratio={hint_ratio} of mask_ratio={mask_ratio} exceeds the visible '
                         f'share, {1 - mask_ratio - throw_ratio:.3g}, with which hints are '
                         'swapped; lower it')


def check_hint_pool(show: float, lowest_mask_ratio: float) -> None:
    """Check that all tokens of the pool from which hints are drawn would be masked.

    Raises:
        InputError: ``show`` is negative or exceeds the lowest masking ratio.
    """
    if not 0 <= show <= lowest_mask_ratio:
        raise InputError(f'show={show} must lie between 0 and the lowest masking ratio, '
                         f'{lowest_mask_ratio}: hints are drawn from masked tokens')


def reveal_hints(order: Tensor, num_masked: int, num_thrown: int, hint_ratio: float,
                 generator: torch.Generator | None = None) -> Tensor:
    """Swap some masked tokens with as many visible ones, both drawn uniformly.

    AttMask-Hint (Kakogeorgiou et al., ECCV 2022, sec. 3.2) reveals some of the most attended
    tokens, because masking all of them would leave no hint of the object. Its hard cut is replaced
    here by the masked head of a sampled ranking. Thrown tokens and all counts stay the same.

    Args:
        order: Masked tokens first, then thrown ones, then visible ones, ``(B, N)`` int64.
        num_masked: Number of masked tokens.
        num_thrown: Number of thrown tokens.
        hint_ratio: Share h of the masked tokens to reveal: ``floor(h num_masked)``.
        generator: Random generator. Defaults to the device's default one; unused if there are no
            hints.

    Returns:
        ``(B, N)`` int64, in the same three parts.

    Raises:
        InputError: There are more hints than visible tokens.
    """
    num_hints = floor_share(num_masked, hint_ratio)
    num_visible = order.shape[1] - num_masked - num_thrown
    if not num_hints:
        return order
    if num_hints > num_visible:
        raise InputError(f'hint_ratio={hint_ratio} swaps {num_hints} of {num_masked} masked tokens '
                         f'with visible ones, of which there are {num_visible}; lower it')
    masked, thrown, visible = order.split([num_masked, num_thrown, num_visible], dim=1)
    masked, visible = shuffle_tokens(masked, generator), shuffle_tokens(visible, generator)
    return torch.cat([visible[:, :num_hints], masked[:, num_hints:], thrown,
                      masked[:, :num_hints], visible[:, num_hints:]], dim=1)
