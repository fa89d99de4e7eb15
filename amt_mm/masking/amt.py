"""AMTMaskGenerator: attention-driven masking and throwing."""

from __future__ import annotations

import torch
from torch import Tensor

from amt_mm import names
from amt_mm.checks import check_choice
from amt_mm.errors import InputError

from .generators import MaskGenerator
from .hint import check_hint_ratio, reveal_hints
from .plan import MaskPlan
from .ranking import rank_by_sampling, rank_uniform, shuffle_tokens
from .weighting import Weighting


class AMTMaskGenerator(MaskGenerator):
    """Attention-driven masking and throwing (AMT, AAAI 2023, eq. 5 and 6).

    Tokens are ranked by sampling without replacement with the saliency as weights: highly attended
    tokens tend to come first. The first ``r N`` are masked, ``t N`` of the others are thrown, the
    rest stays visible. With ``throw_ratio=0`` this is attention-driven masking alone (AM).

    Args:
        mask_ratio: Masking ratio r. Defaults to .45, the paper's for MAE.
        throw_ratio: Throwing ratio t. Defaults to .40, the paper's for MAE.
        throw: Which of the tokens that are not masked are thrown (Table 4): ``'middle'``, the next
            in the ranking (default, the paper's choice); ``'low'``, the last, so that the middle
            stays visible; ``'random'``, any of them.
        mask: Which tokens are masked: ``'high'``, the first in the ranking (default, the paper's
            choice); ``'random'``, with ``throw='low'``, any that are not thrown, so that saliency
            decides only what is not worth computing.
        visible: Which tokens are encoded: ``'ranked'``, those that are neither masked nor thrown
            (default, the paper's choice); ``'random'``, any tokens, so that all patches are seen
            equally often. Of the others the first in their ranking are masked, the last thrown.
        warmup_mask_ratio: Share masked at random before the first refresh. Defaults to .75, as in
            MAE.
        weighting: How saliency becomes the weights of the ranking: a
            :class:`~amt_mm.masking.weighting.Weighting` or a dict of its arguments, such as
            ``dict(temperature=2)``. Defaults to None: weights are the saliency, as in the paper.
        hint_ratio: Share of the masked tokens that are revealed, see
            :func:`~amt_mm.masking.hint.reveal_hints`. Defaults to 0, as in the paper.
        **kwargs: See :class:`~amt_mm.masking.generators.MaskGenerator`.

    Raises:
        InputError: ``throw``, ``mask`` or ``visible`` is unknown, a number is out of range, or one
            setting would disable another.
    """

    def __init__(self, mask_ratio: float = 0.45, throw_ratio: float = 0.40, throw: str = 'middle',
                 mask: str = 'high', visible: str = 'ranked', warmup_mask_ratio: float = 0.75,
                 weighting: Weighting | dict | None = None, hint_ratio: float = 0.0,
                 **kwargs) -> None:
        super().__init__(mask_ratio, throw_ratio, warmup_mask_ratio, **kwargs)
        check_choice('throw', throw, names.THROWS)
        check_choice('mask', mask, names.MASKS)
        check_choice('visible', visible, names.VISIBLES)
        if mask == 'random' and (throw != 'low' or hint_ratio):
            raise InputError("mask='random' masks any tokens that are not thrown: it needs "
                             "throw='low' and excludes hint_ratio")
        if visible == 'random' and (throw != 'middle' or hint_ratio):
            raise InputError("visible='random' throws the last of the tokens that are not visible: "
                             "it needs throw='middle' and mask='high' and excludes hint_ratio")
        check_hint_ratio(hint_ratio, mask_ratio, throw_ratio)
        self.throw = throw
        self.mask = mask
        self.visible = visible
        self.weighting = Weighting.from_config(weighting)
        self.hint_ratio = hint_ratio

    def guided_plan(self, weights: Tensor, units: tuple[int, int],
                    generator: torch.Generator | None) -> MaskPlan:
        """Weigh, rank by weighted sampling, then cut."""
        num_masked, num_thrown = self.counts(units)
        order = rank_by_sampling(self.weigh(weights), generator)
        if self.visible == 'random':
            # Whichever tokens are removed, the ranking of the others follows the same law.
            shown = rank_uniform(*order.shape, order.device, generator)[:, num_masked + num_thrown:]
            last = torch.zeros_like(order).scatter_(1, shown, 1)
            order = order.gather(1, last.argsort(dim=1, stable=True))
        if self.mask == 'random':
            kept, thrown = order.tensor_split([order.shape[1] - num_thrown], dim=1)
            order = torch.cat([shuffle_tokens(kept, generator), thrown], dim=1)
        masked, rest = order.tensor_split([num_masked], dim=1)
        if self.throw == 'low':
            rest = rest.flip(1)
        elif self.throw == 'random':
            rest = shuffle_tokens(rest, generator)
        order = reveal_hints(torch.cat([masked, rest], dim=1), num_masked, num_thrown,
                             self.hint_ratio, generator)
        return MaskPlan.from_order(order, num_masked, num_thrown, units)

    def weigh(self, saliency: Tensor) -> Tensor:
        """Compute the weights from the saliency of each unit, both ``(B, number of units)``."""
        return self.weighting(saliency)
