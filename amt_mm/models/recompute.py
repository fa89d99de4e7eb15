"""Gradient checkpointing: blocks that are recomputed in the backward pass."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from amt_mm.errors import InputError

from .blocks import Block


class RecomputedBlock(Block):
    """A block that stores only its input and is recomputed for its gradient.

    Activation memory falls to the input of every block and the inside of one, at the cost of a
    second forward pass. Gradients are identical bit for bit: dropout and drop path repeat their
    draws.
    """

    def forward(self, x: Tensor, num_outputs: int | None = None, context: Tensor | None = None
                ) -> Tensor:
        """Run the block, see the parent class."""
        if not torch.is_grad_enabled():
            return super().forward(x, num_outputs, context)
        return checkpoint(super().forward, x, num_outputs, context, use_reentrant=False)


def enable_recompute(blocks: Iterable[nn.Module]) -> None:
    """Change the class of blocks to :class:`RecomputedBlock`, in place.

    Args:
        blocks: Blocks after :func:`~amt_mm.models.blocks.use_fast_blocks`.

    Raises:
        InputError: A block of another class.
    """
    for block in blocks:
        if type(block) is not Block:
            raise InputError(f'with_cp=True cannot recompute a {type(block).__name__}, only '
                             "mmpretrain's TransformerEncoderLayer; remove with_cp")
        block.__class__ = RecomputedBlock
