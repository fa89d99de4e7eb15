"""MaskPlan: which tokens of a batch are masked, thrown and visible."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

VISIBLE = 0
"""State of a token that is encoded."""
MASKED = 1
"""State of a token that is predicted."""
THROWN = 2
"""State of a token that is never computed."""


@dataclass(frozen=True)
class MaskPlan:
    """A partition of the tokens of every sample into masked, thrown and visible ones, by ids.

    Ids count the tokens of an image row by row, from 0 at the top left. Counts are the same for all
    samples, so all shapes are static.

    Attributes:
        masked: Ids of the tokens to predict, ``(B, n_masked)`` int64.
        thrown: Ids of the tokens that are never computed, ``(B, n_thrown)`` int64.
        visible: Ids of the tokens that are encoded, ``(B, n_visible)`` int64.
        grid: Rows and columns of the token grid, ``(h, w)``.
    """

    masked: Tensor
    thrown: Tensor
    visible: Tensor
    grid: tuple[int, int]

    @property
    def batch_size(self) -> int:
        """Number of samples."""
        return self.masked.shape[0]

    @property
    def num_tokens(self) -> int:
        """Number of tokens of the grid, ``h * w``."""
        return self.grid[0] * self.grid[1]

    @classmethod
    def from_order(cls, order: Tensor, num_masked: int, num_thrown: int,
                   grid: tuple[int, int]) -> MaskPlan:
        """Cut a ranking in three: the first are masked, the next thrown, the rest visible.

        Args:
            order: A permutation of the token ids for each sample, ``(B, h * w)`` int64.
            num_masked: Number of masked tokens.
            num_thrown: Number of thrown tokens.
            grid: Rows and columns of the token grid.
        """
        masked, thrown, visible = order.split(
            [num_masked, num_thrown, order.shape[1] - num_masked - num_thrown], dim=1)
        return cls(masked, thrown, visible, grid)

    def states(self) -> Tensor:
        """Encode as ``VISIBLE`` 0, ``MASKED`` 1 or ``THROWN`` 2 per token, ``(B, h * w)`` int8."""
        states = torch.full((self.batch_size, self.num_tokens), VISIBLE, dtype=torch.int8,
                            device=self.masked.device)
        states.scatter_(1, self.masked, MASKED)
        return states.scatter_(1, self.thrown, THROWN)

    def to(self, device: torch.device | str) -> MaskPlan:
        """Return the plan with its ids on a device."""
        return replace(self, masked=self.masked.to(device), thrown=self.thrown.to(device),
                       visible=self.visible.to(device))

    def units_to_tokens(self, unit: int) -> MaskPlan:
        """Expand a plan of units to a plan of tokens, for methods that mask units such as SimMIM.

        Args:
            unit: Side of a unit, in tokens.

        Returns:
            A plan on the grid ``(h * unit, w * unit)``.
        """
        if unit == 1:
            return self
        width = self.grid[1] * unit
        corner = torch.arange(unit, device=self.masked.device)
        inside = (corner[:, None] * width + corner).flatten()  # (unit * unit,)

        def expand(ids: Tensor) -> Tensor:
            row, column = ids // self.grid[1], ids % self.grid[1]
            first = row * (unit * width) + column * unit  # (B, n): top-left token of the unit
            return (first.unsqueeze(-1) + inside).flatten(1)  # (B, n * unit * unit)

        return MaskPlan(
            expand(self.masked), expand(self.thrown), expand(self.visible),
            (self.grid[0] * unit, width))
