"""AttMask: mask the most attended tokens, by a hard cut."""

from __future__ import annotations

import torch
from torch import Tensor

from amt_mm.checks import check_choice
from amt_mm.errors import InputError

from .generators import MaskGenerator
from .hint import check_hint_pool
from .plan import MaskPlan
from .ranking import rank_by_weight, rank_uniform
from .ratios import floor_share

STRATEGIES = ('high', 'hint', 'low')


def rank_attmask(weights: Tensor, strategy: str, pool_size: int = 0, num_hints: int = 0,
                 generator: torch.Generator | None = None) -> Tensor:
    """Rank tokens in the order in which AttMask masks them (Kakogeorgiou et al., ECCV 2022, 3.2).

    Args:
        weights: Attention of each token, ``(B, N)``; only its order matters.
        strategy: ``'high'``: most attended first. ``'low'``: least attended first. ``'hint'``:
            most attended first, except for the hints, which come last.
        pool_size: Number of most attended tokens from which the hints are drawn.
        num_hints: Number of hints, drawn uniformly without replacement.
        generator: Random generator. Defaults to the device's default one.

    Returns:
        ``(B, N)`` int64, to be masked from the first on.
    """
    check_choice('strategy', strategy, STRATEGIES)
    order = rank_by_weight(weights, generator)
    if strategy == 'low':
        return order.flip(1)
    if strategy == 'high' or not num_hints:
        return order
    pool = rank_uniform(len(order), pool_size, order.device, generator)  # places in the order
    hidden = pool[:, num_hints:].sort(dim=1).values
    places = torch.arange(pool_size, order.shape[1], device=order.device).expand(len(order), -1)
    return order.gather(1, torch.cat([hidden, places, pool[:, :num_hints]], dim=1))


class AttMaskGenerator(MaskGenerator):
    """AttMask's hard cut by stored saliency, for MAE and SimMIM.

    Unlike AMT, which samples its ranking by weight, this masks exactly the ``r N`` most (or least)
    attended tokens. The next ones in the ranking are thrown.

    Args:
        strategy: ``'high'``, ``'hint'`` or ``'low'``, see :func:`rank_attmask`.
        mask_ratio: Share of masked tokens. Defaults to .75, as in MAE.
        throw_ratio: Share of thrown tokens. Defaults to 0.
        warmup_mask_ratio: Share masked at random before the first refresh. Defaults to .75, as in
            MAE.
        show: With ``'hint'``: the most attended share of tokens, from which hints are drawn.
            ``floor(show N mask_ratio)`` of them are revealed and as many other tokens masked
            instead, because a plan has fixed numbers. Defaults to .1, as in the paper.
        **kwargs: See :class:`~amt_mm.masking.generators.MaskGenerator`.

    Raises:
        InputError: ``strategy`` is unknown, ``show`` exceeds ``mask_ratio``, the ratios are
            impossible, or, when a plan is made, leave fewer visible tokens than there are hints.
    """

    def __init__(self, strategy: str = 'high', mask_ratio: float = 0.75, throw_ratio: float = 0.0,
                 warmup_mask_ratio: float = 0.75, show: float = 0.1, **kwargs) -> None:
        super().__init__(mask_ratio, throw_ratio, warmup_mask_ratio, **kwargs)
        check_choice('strategy', strategy, STRATEGIES)
        check_hint_pool(show, mask_ratio)
        self.strategy = strategy
        self.show = show

    def guided_plan(self, weights: Tensor, units: tuple[int, int],
                    generator: torch.Generator | None) -> MaskPlan:
        """Rank by weight, then cut."""
        num_units = units[0] * units[1]
        num_visible = num_units - sum(self.counts(units))
        pool_size = floor_share(num_units, self.show)
        num_hints = floor_share(num_units, self.show, self.mask_ratio)
        if self.strategy == 'hint' and num_hints > num_visible:
            raise InputError(f'show={self.show} reveals {num_hints} tokens, but only '
                             f'{num_visible} of {num_units} stay visible; lower it, or throw_ratio')
        order = rank_attmask(weights, self.strategy, pool_size, num_hints, generator)
        return self.cut(order, units)
