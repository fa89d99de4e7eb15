"""Gradient checkpointing: blocks that are recomputed in the backward pass."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from amt_mm.errors import InputError

from .blocks import Block
from .rotary import RotaryBlock


class RecomputedBlock(Block):
    """A block that stores only its input and is recomputed for its gradient.

    Activation memory falls to the input of every block and the inside of one, at the cost of a
    second forward pass. Gradients are identical bit for bit: dropout and drop path repeat their
    draws.
    """

    def forward(self, x: Tensor, *args, **kwargs) -> Tensor:
        """Run the block, see the parent class."""
        if not torch.is_grad_enabled():
            return super().forward(x, *args, **kwargs)
        return checkpoint(super().forward, x, *args, use_reentrant=False, **kwargs)


class RecomputedRotaryBlock(RecomputedBlock, RotaryBlock):
    """The same for a block with rotary positions."""


_RECOMPUTED = {Block: RecomputedBlock, RotaryBlock: RecomputedRotaryBlock}


def enable_recompute(blocks: Iterable[nn.Module]) -> None:
    """Let blocks be recomputed, by another class, in place.

    Args:
        blocks: Blocks after :func:`~amt_mm.models.blocks.use_fast_blocks`.

    Raises:
        InputError: A block of another class.
    """
    for block in blocks:
        if type(block) not in _RECOMPUTED:
            raise InputError(f'with_cp=True cannot recompute a {type(block).__name__}, only '
                             "mmpretrain's TransformerEncoderLayer; remove with_cp")
        block.__class__ = _RECOMPUTED[type(block)]
