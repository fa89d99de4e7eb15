"""Gradient checkpointing: blocks that are computed again in the backward pass."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from amt_mm.errors import InputError

from .blocks import Block


class RecomputedBlock(Block):
    """A block that keeps its input alone, and computes itself again for its gradient.

    Memory for activations falls to one tensor of tokens a block and the inside of one block;
    the forward pass is paid twice. Gradients are the same bit for bit: dropout and drop path
    draw what they drew.
    """

    def forward(self, x: Tensor, wanted: int | None = None) -> Tensor:
        """Run the block; see the parent's."""
        if not torch.is_grad_enabled():
            return super().forward(x, wanted)
        return checkpoint(super().forward, x, wanted, use_reentrant=False)


def recompute(blocks: Iterable[nn.Module]) -> None:
    """Give blocks the forward of :class:`RecomputedBlock`; parameters and names stay.

    Args:
        blocks: Blocks that :func:`~amt_mm.models.blocks.lean_blocks` has dealt with.

    Raises:
        InputError: A block of another class.
    """
    for block in blocks:
        if type(block) is not Block:
            raise InputError(f'with_cp=True cannot recompute a {type(block).__name__}: it knows '
                             "mmpretrain's TransformerEncoderLayer alone; leave it out")
        block.__class__ = RecomputedBlock
