"""Mask the least attended tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from .generators import MaskGenerator
from .plan import MaskPlan
from .ranking import rank_by_sampling


class LowAttendedMaskGenerator(MaskGenerator):
    """AMT's sampled ranking, cut from its end: the most attended tokens stay visible.

    Visible tokens are drawn first, by weight and without replacement, thrown ones next; the rest is
    masked. MST (Li et al., NeurIPS 2021) likewise masks at random among tokens of low attention, so
    that what matters stays visible. The hard cut, AttMask-Low (Kakogeorgiou et al., ECCV 2022), is
    in :class:`~amt_mm.masking.attmask.AttMaskGenerator`.

    Args:
        mask_ratio: Share of masked tokens. Defaults to .75, as in MAE; MST's 1/8 is meant for a
            loss between views.
        throw_ratio: Share of thrown tokens. Defaults to 0.
        warmup_mask_ratio: Share masked at random before the first refresh. Defaults to .75, as in
            MAE.
        **kwargs: See :class:`~amt_mm.masking.generators.MaskGenerator`.
    """

    def __init__(self, mask_ratio: float = 0.75, throw_ratio: float = 0.0,
                 warmup_mask_ratio: float = 0.75, **kwargs) -> None:
        super().__init__(mask_ratio, throw_ratio, warmup_mask_ratio, **kwargs)

    def guided_plan(self, weights: Tensor, units: tuple[int, int],
                    generator: torch.Generator | None) -> MaskPlan:
        """Rank by weighted sampling, then cut from the end."""
        return self.cut(rank_by_sampling(weights, generator).flip(1), units)
