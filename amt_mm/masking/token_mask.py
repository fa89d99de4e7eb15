"""TokenMask: masked tokens, in numbers that differ between crops."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class TokenMask:
    """Masked tokens of each crop, for methods that keep masked tokens in place.

    A :class:`~amt_mm.masking.MaskPlan` has the same counts for all samples, so that tokens can be
    left out. Self-distillation (iBOT) leaves none out, does not mask every crop, and may vary the
    ratio, so masked tokens are listed one by one. Their counts are known without waiting for the
    device.

    Attributes:
        crop: Crop of each masked token, ``(M,)`` int64, ascending.
        token: Its id, row by row from 0 at the top left, ``(M,)`` int64.
        counts: Masked tokens of each crop, ``(B,)`` int64 on the CPU, with sum M.
        grid: Rows and columns of the token grid, ``(h, w)``.
    """

    crop: Tensor
    token: Tensor
    counts: Tensor
    grid: tuple[int, int]

    @classmethod
    def from_order(cls, order: Tensor, counts: Tensor, grid: tuple[int, int]) -> TokenMask:
        """Mask the first tokens of each crop's ranking.

        Args:
            order: Ranking of the tokens of each crop, ``(B, h * w)`` int64.
            counts: Number of tokens to mask, ``(B,)`` int64 on the CPU.
            grid: Rows and columns of the token grid.
        """
        crop = torch.arange(len(counts)).repeat_interleave(counts)  # (M,)
        place = torch.arange(len(crop)) - (counts.cumsum(0) - counts)[crop]
        if order.device.type == 'cuda':  # a copy from pageable memory waits for the device
            crop, place = crop.pin_memory(), place.pin_memory()
        crop = crop.to(order.device, non_blocking=True)
        return cls(crop, order[crop, place.to(order.device, non_blocking=True)], counts, grid)

    @property
    def batch_size(self) -> int:
        """Number of crops."""
        return len(self.counts)

    def states(self) -> Tensor:
        """Mark masked tokens, ``(B, h * w)`` bool."""
        states = torch.zeros(self.batch_size, self.grid[0] * self.grid[1], dtype=torch.bool,
                             device=self.crop.device)
        return states.index_put((self.crop, self.token), states.new_ones(()))

    def take(self, tokens: Tensor) -> Tensor:
        """Select the masked tokens of a batch, ``(B, h * w, D)`` to ``(M, D)``."""
        return tokens[self.crop, self.token]

    def loss_weights(self) -> Tensor:
        """Weight of each masked token in the mean over crops of means over their tokens, ``(M,)``.

        A crop without masked tokens counts with a loss of 0 (iBOT's patch loss).
        """
        each = 1 / (self.counts.clamp_min(1) * self.batch_size)
        return each.repeat_interleave(self.counts).to(self.crop.device, non_blocking=True)
