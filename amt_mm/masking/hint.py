"""Show some of what would be masked, so that the encoder has a hint of it."""

from __future__ import annotations

import torch
from torch import Tensor

from amt_mm.errors import InputError

from .ranking import shuffled
from .ratios import check_share, floor_share


def check_hint(hint_ratio: float, mask_ratio: float, throw_ratio: float) -> None:
    """Refuse a share of masked tokens that the visible ones cannot make up for.

    Raises:
        InputError: ``hint_ratio`` is no number from 0 to less than 1, or more tokens would
            change places than are visible.
    """
    check_share(hint_ratio, 'hint_ratio')
    if hint_ratio * mask_ratio > 1 - mask_ratio - throw_ratio + 1e-9:
        raise InputError(f'hint_ratio={hint_ratio} of mask_ratio={mask_ratio} is more than the '
                         f'visible share, {1 - mask_ratio - throw_ratio:.3g}, can change places '
                         'with: lower it')


def show_some(order: Tensor, num_masked: int, num_thrown: int, hint_ratio: float,
              generator: torch.Generator | None = None) -> Tensor:
    """Let some masked tokens change places with as many visible ones, all drawn evenly.

    AttMask-Hint (Kakogeorgiou et al., ECCV 2022, sec. 3.2) shows some of the most attended
    tokens, where hiding all of them would leave no hint of the object. It shows what is
    above a hard cut; here the masked head of a sampled ranking takes that place. Numbers
    of tokens stay as they were, and so does what is thrown.

    Args:
        order: Masked tokens first, then thrown ones, then visible ones, ``(B, N)`` int64.
        num_masked: Number of masked tokens.
        num_thrown: Number of thrown tokens.
        hint_ratio: Share h of the masked tokens to show: ``floor(h num_masked)``.
        generator: Source of chance. Defaults to torch's own of the device.

    Returns:
        ``(B, N)`` int64, cut as ``order`` is. Nothing is drawn if nothing is shown.

    Raises:
        InputError: Fewer tokens are visible than would be shown.
    """
    num_shown = floor_share(num_masked, hint_ratio)
    num_visible = order.shape[1] - num_masked - num_thrown
    if not num_shown:
        return order
    if num_shown > num_visible:
        raise InputError(f'hint_ratio={hint_ratio} shows {num_shown} of {num_masked} masked tokens '
                         f'in place of visible ones, of which there are {num_visible}: lower it')
    masked, thrown, visible = order.split([num_masked, num_thrown, num_visible], dim=1)
    masked, visible = shuffled(masked, generator), shuffled(visible, generator)
    return torch.cat([visible[:, :num_shown], masked[:, num_shown:], thrown,
                      masked[:, :num_shown], visible[:, num_shown:]], dim=1)
