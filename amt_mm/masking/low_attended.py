"""Mask what is attended least."""

from __future__ import annotations

import torch
from torch import Tensor

from .generators import MaskGenerator
from .plan import MaskPlan
from .ranking import rank_by_sampling
from .ratios import split_counts


class LowAttendedMaskGenerator(MaskGenerator):
    """Keep the most attended tokens visible and mask the least attended ones.

    MST (Li et al., NeurIPS 2021, the masked token strategy of its method) masks
    at random among tokens of low attention, so that what matters stays in
    view; AttMask (Kakogeorgiou et al., ECCV 2022) has it as its control
    AttMask-Low. Here it is AMT's ranking read from its end: visible tokens are
    drawn first, by weight, without replacement; thrown ones next; what is never
    drawn is masked.

    Args:
        mask_ratio: Share of masked tokens. Defaults to .75, MAE's: MST's own
            1/8 belongs to a loss between views.
        throw_ratio: Share of thrown tokens. Defaults to 0.
        warmup_mask_ratio: Random masking before the first refresh. Defaults to
            .75, MAE's own ratio.
        **kwargs: See :class:`~amt_mm.masking.generators.MaskGenerator`.
    """

    def __init__(self, mask_ratio: float = 0.75, throw_ratio: float = 0.0,
                 warmup_mask_ratio: float = 0.75, **kwargs) -> None:
        super().__init__(mask_ratio, throw_ratio, warmup_mask_ratio, **kwargs)

    def guided_plan(self, weights: Tensor, units: tuple[int, int],
                    generator: torch.Generator | None) -> MaskPlan:
        """Rank by weighted sampling, then cut from the end."""
        counts = split_counts(units[0] * units[1], self.mask_ratio, self.throw_ratio,
                              self.rounding)
        return MaskPlan.from_order(rank_by_sampling(weights, generator).flip(1), *counts, units)
