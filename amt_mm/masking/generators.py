"""Mask generators: one weight per token in, a MaskPlan out."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from amt_mm.checks import check_choice
from amt_mm.errors import InputError

from .plan import MaskPlan
from .ranking import rank_uniform
from .ratios import check_ratios, split_counts


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
