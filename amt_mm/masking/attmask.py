"""AttMask: hide the most attended tokens, by a hard cut."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from amt_mm.errors import InputError

from .generators import MaskGenerator
from .plan import MaskPlan
from .ranking import rank_by_score, rank_uniform
from .ratios import split_counts

VARIANTS = ('high', 'hint', 'low')


def rank_attmask(scores: Tensor, variant: str, show_pool: int = 0, num_shown: int = 0,
                 generator: torch.Generator | None = None) -> Tensor:
    """Order tokens as AttMask masks them (Kakogeorgiou et al., ECCV 2022, sec. 3.2).

    Args:
        scores: Attention of each token, ``(B, N)``; its order alone matters.
        variant: ``'high'``: most attended first. ``'low'``: least attended first.
            ``'hint'``: most attended first, but some of the very top are shown:
            they come last.
        show_pool: With ``'hint'``: size of the very top.
        num_shown: With ``'hint'``: how many of it are shown, drawn uniformly
            without replacement.
        generator: Source of chance. Defaults to torch's own of the device.

    Returns:
        ``(B, N)`` int64, most masked first.
    """
    if variant not in VARIANTS:
        raise InputError(f'variant={variant!r} is unknown: use one of {", ".join(VARIANTS)}')
    order = rank_by_score(scores, generator)
    if variant == 'low':
        return order.flip(1)
    if variant == 'high' or not num_shown:
        return order
    pool = rank_uniform(len(order), show_pool, order.device, generator)  # places in the order
    hidden = pool[:, num_shown:].sort(dim=1).values
    places = torch.arange(show_pool, order.shape[1], device=order.device).expand(len(order), -1)
    return order.gather(1, torch.cat([hidden, places, pool[:, :num_shown]], dim=1))


def check_show(show: float, lowest_ratio: float) -> None:
    """Refuse a share of tokens to show from that is not all masked.

    Raises:
        InputError: ``show`` is negative or more than the lowest masking ratio.
    """
    if not 0 <= show <= lowest_ratio:
        raise InputError(f'show={show} must lie between 0 and the lowest masking ratio, '
                         f'{lowest_ratio}: what is shown is taken from what is masked')


class AttMaskGenerator(MaskGenerator):
    """AttMask's hard cut by stored saliency, for MAE and SimMIM.

    AMT draws its ranking by weight; here the ``r N`` most attended tokens are
    masked, or the least attended ones. What is thrown comes next in the order.

    Args:
        variant: ``'high'``, ``'hint'`` or ``'low'``, see :func:`rank_attmask`.
        mask_ratio: Share of masked tokens. Defaults to .75, MAE's.
        throw_ratio: Share of thrown tokens. Defaults to 0.
        warmup_mask_ratio: Random masking before the first refresh. Defaults to .75,
            MAE's own ratio.
        show: With ``'hint'``: share of tokens that are the very top. As many as
            ``floor(show N mask_ratio)`` of them are shown, and other tokens masked
            instead, since a plan has fixed numbers. Defaults to the paper's .1.
        **kwargs: See :class:`~amt_mm.masking.generators.MaskGenerator`.

    Raises:
        InputError: An unknown variant, ``show`` above ``mask_ratio``, or ratios that
            no plan can have.
    """

    def __init__(self, variant: str = 'high', mask_ratio: float = 0.75, throw_ratio: float = 0.0,
                 warmup_mask_ratio: float = 0.75, show: float = 0.1, **kwargs) -> None:
        super().__init__(mask_ratio, throw_ratio, warmup_mask_ratio, **kwargs)
        if variant not in VARIANTS:
            raise InputError(f'variant={variant!r} is unknown: use one of {", ".join(VARIANTS)}')
        check_show(show, mask_ratio)
        self.variant = variant
        self.show = show

    def guided_plan(self, weights: Tensor, units: tuple[int, int],
                    generator: torch.Generator | None) -> MaskPlan:
        """Sort, then cut."""
        num_units = units[0] * units[1]
        pool = math.floor(num_units * self.show)
        shown = math.floor(num_units * self.show * self.mask_ratio)
        order = rank_attmask(weights, self.variant, pool, shown, generator)
        return MaskPlan.from_order(order, *split_counts(
            num_units, self.mask_ratio, self.throw_ratio, self.rounding), units)
