"""Mask generators: one weight per token in, a MaskPlan out."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from amt_mm import names
from amt_mm.checks import check_choice
from amt_mm.errors import InputError

from .hint import check_hint_ratio, reveal_hints
from .plan import MaskPlan
from .ranking import rank_by_sampling, rank_uniform, shuffle_tokens
from .ratios import check_ratios, split_counts
from .weighting import Weighting


class MaskGenerator(ABC):
    """Base class: decides which tokens are masked, thrown and visible.

    A subclass defines the guided plan. Without weights, that is before the first refresh of the
    saliency, every generator masks at random by the host's own ratio and by default throws nothing:
    the warm-up is plain random masking.

    Args:
        mask_ratio: Share r of masked tokens in guided plans.
        throw_ratio: Share t of thrown tokens in guided plans.
        warmup_mask_ratio: Share of masked tokens without weights: the host's own ratio (MAE .75,
            SimMIM .60). Defaults to ``mask_ratio``.
        warmup_throw_ratio: Share of tokens thrown at random without weights. Defaults to 0, as in
            the paper.
        unit: Side, in tokens, of the squares that are masked or thrown as a whole: 1 for MAE, 2 for
            SimMIM's 32 pixels with patches of 16.
        rounding: ``'floor'`` (MAE) or ``'ceil'`` (SimMIM), see
            :func:`~amt_mm.masking.ratios.split_counts`.

    Raises:
        InputError: The ratios leave nothing masked or nothing visible, or ``unit`` or ``rounding``
            is invalid.
    """

    needs_weights = True

    def __init__(self, mask_ratio: float, throw_ratio: float = 0.0,
                 warmup_mask_ratio: float | None = None, unit: int = 1,
                 rounding: str = 'floor', warmup_throw_ratio: float = 0.0) -> None:
        check_ratios(mask_ratio, throw_ratio)
        self.mask_ratio = mask_ratio
        self.throw_ratio = throw_ratio
        self.warmup_mask_ratio = mask_ratio if warmup_mask_ratio is None else warmup_mask_ratio
        check_ratios(self.warmup_mask_ratio, warmup_throw_ratio, 'warmup_')
        self.warmup_throw_ratio = warmup_throw_ratio
        if type(unit) is not int or unit < 1:
            raise InputError(f'unit={unit!r} must be a whole number of tokens, at least 1')
        check_choice('rounding', rounding, ('floor', 'ceil'))
        self.unit = unit
        self.rounding = rounding

    def __call__(self, batch_size: int, grid: tuple[int, int], weights: Tensor | None = None,
                 device: torch.device | str = 'cpu',
                 generator: torch.Generator | None = None) -> MaskPlan:
        """Make the plan of a batch.

        Args:
            batch_size: Number of samples B.
            grid: Rows and columns of tokens, ``(h, w)``.
            weights: Weight of each token, ``(B, h * w)``, or None before the first refresh. Samples
                whose weights are unusable (not finite, negative or constant) are masked at random.
            device: Device of the plan if there are no weights.
            generator: Random generator. Defaults to the device's default one.

        Raises:
            InputError: The grid is not a multiple of ``unit``, or the weights have another shape.
        """
        rows, columns = grid
        if rows % self.unit or columns % self.unit:
            raise InputError(f'a grid of {rows}x{columns} tokens is not a multiple of '
                             f'unit={self.unit}; change the image size, patch size or unit')
        units = rows // self.unit, columns // self.unit
        if weights is None or not self.needs_weights:
            device = device if weights is None else weights.device
            plan = self.random_plan(batch_size, units, device, generator)
        else:
            if weights.shape != (batch_size, rows * columns):
                raise InputError(f'weights of shape {tuple(weights.shape)} do not fit {batch_size} '
                                 f'samples of {rows}x{columns} tokens')
            plan = self.guided_plan(self._sum_units(weights, grid), units, generator)
        return plan.units_to_tokens(self.unit)

    def finish(self) -> None:  # noqa: B027
        """Switch to the behaviour at the end of training; by default it never changes."""

    def random_plan(self, batch_size: int, units: tuple[int, int], device: torch.device | str,
                    generator: torch.Generator | None) -> MaskPlan:
        """Mask, and by default throw nothing, at random, by the warm-up's ratios."""
        num_units = units[0] * units[1]
        counts = split_counts(num_units, self.warmup_mask_ratio, self.warmup_throw_ratio,
                              self.rounding, 'warmup_')
        return MaskPlan.from_order(rank_uniform(batch_size, num_units, device, generator), *counts,
                                   units)

    @abstractmethod
    def guided_plan(self, weights: Tensor, units: tuple[int, int],
                    generator: torch.Generator | None) -> MaskPlan:
        """Make the plan of a batch whose weights are known.

        Args:
            weights: One weight per unit, ``(B, number of units)``.
            units: Rows and columns of units.
            generator: Random generator.
        """

    def counts(self, units: tuple[int, int]) -> tuple[int, int]:
        """Compute the numbers of masked and of thrown units of a guided plan."""
        return split_counts(units[0] * units[1], self.mask_ratio, self.throw_ratio, self.rounding)

    def cut(self, order: Tensor, units: tuple[int, int]) -> MaskPlan:
        """Make the plan of a ranking of units, cut by :meth:`counts`."""
        return MaskPlan.from_order(order, *self.counts(units), units)

    def _sum_units(self, weights: Tensor, grid: tuple[int, int]) -> Tensor:
        """Sum the weights of the tokens of each unit, ``(B, number of units)``."""
        if self.unit == 1:
            return weights
        rows, columns = grid[0] // self.unit, grid[1] // self.unit
        blocks = weights.reshape(-1, rows, self.unit, columns, self.unit)
        return blocks.sum(dim=(2, 4)).flatten(1)


class RandomMaskGenerator(MaskGenerator):
    """Random masking and, with ``throw_ratio``, random throwing; no weights are used.

    Args:
        mask_ratio: Share of masked tokens. Defaults to .75, as in MAE.
        throw_ratio: Share of thrown tokens. Defaults to 0. The control "random throw" of AMT's
            Table 4 is ``mask_ratio=.45, throw_ratio=.40``.
        **kwargs: ``unit`` and ``rounding``, see :class:`MaskGenerator`.
    """

    needs_weights = False

    def __init__(self, mask_ratio: float = 0.75, throw_ratio: float = 0.0, **kwargs) -> None:
        for name in ('warmup_mask_ratio', 'warmup_throw_ratio'):
            if kwargs.pop(name, None) is not None:
                raise InputError(f'RandomMaskGenerator has no warm-up; remove {name}')
        super().__init__(mask_ratio, throw_ratio, **kwargs)

    def random_plan(self, batch_size: int, units: tuple[int, int], device: torch.device | str,
                    generator: torch.Generator | None) -> MaskPlan:
        """Rank at random, then cut."""
        return self.cut(rank_uniform(batch_size, units[0] * units[1], device, generator), units)

    def guided_plan(self, weights: Tensor, units: tuple[int, int],
                    generator: torch.Generator | None) -> MaskPlan:
        """Ignore the weights."""
        return self.random_plan(len(weights), units, weights.device, generator)


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
        **kwargs: See :class:`MaskGenerator`.

    Raises:
        InputError: ``throw``, ``mask`` or ``visible`` is unknown, a number is out of range, or one
            setting would disable another.
    """

    THROWS, MASKS, VISIBLES = names.THROWS, names.MASKS, names.VISIBLES

    def __init__(self, mask_ratio: float = 0.45, throw_ratio: float = 0.40, throw: str = 'middle',
                 mask: str = 'high', visible: str = 'ranked', warmup_mask_ratio: float = 0.75,
                 weighting: Weighting | dict | None = None, hint_ratio: float = 0.0,
                 **kwargs) -> None:
        super().__init__(mask_ratio, throw_ratio, warmup_mask_ratio, **kwargs)
        check_choice('throw', throw, self.THROWS)
        check_choice('mask', mask, self.MASKS)
        check_choice('visible', visible, self.VISIBLES)
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
