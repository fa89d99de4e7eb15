"""Mask generators: weights of the tokens in, a MaskPlan out."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from amt_mm import names
from amt_mm.errors import InputError

from .hint import check_hint, show_some
from .plan import MaskPlan
from .ranking import rank_by_sampling, rank_uniform, shuffled
from .ratios import check_ratios, split_counts
from .weighting import Weighting


class MaskGenerator(ABC):
    """Decides what is masked, thrown and visible, from one weight a token.

    A subclass says how guided plans are made. Without weights, as before the
    first refresh of the saliency, every generator masks at random by the ratio
    of the host method and, unless told to, throws nothing: random masking is the warm-up.

    Args:
        mask_ratio: Share r of masked tokens in guided plans.
        throw_ratio: Share t of thrown tokens in guided plans.
        warmup_mask_ratio: Share of masked tokens without weights: the host's own
            ratio, which need not be ``mask_ratio`` (MAE .75, SimMIM .60).
            Defaults to ``mask_ratio``.
        warmup_throw_ratio: Share of thrown tokens without weights, chosen at random.
            Defaults to 0, as in the paper: until maps are known nothing is thrown.
        unit: Side of the blocks that share one fate, in tokens: 1 for MAE, 2 for
            SimMIM's 32 pixels with patches of 16.
        rounding: ``'floor'`` (MAE) or ``'ceil'`` (SimMIM), see
            :func:`~amt_mm.masking.ratios.split_counts`.

    Raises:
        InputError: Ratios that leave nothing masked or nothing visible.
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
        if rounding not in ('floor', 'ceil'):
            raise InputError(f"rounding={rounding!r} is unknown: use 'floor' or 'ceil'")
        self.unit = unit
        self.rounding = rounding

    def __call__(self, batch_size: int, grid: tuple[int, int], weights: Tensor | None = None,
                 device: torch.device | str = 'cpu',
                 generator: torch.Generator | None = None) -> MaskPlan:
        """Make the plan of a batch.

        Args:
            batch_size: Number of samples B.
            grid: Rows and columns of tokens, ``(h, w)``.
            weights: Weight of each token, ``(B, h * w)``, or None while no
                saliency is known. Rows that cannot guide (not finite, flat) fall
                back to chance.
            device: Where the plan is made if there are no weights.
            generator: Source of chance. Defaults to torch's own of the device.

        Raises:
            InputError: ``unit`` does not divide the grid, or weights of another shape.
        """
        rows, columns = grid
        if rows % self.unit or columns % self.unit:
            raise InputError(f'a grid of {rows}x{columns} tokens is not divided by '
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
        """Be as at the end of training. Most generators are so from the beginning."""

    def random_plan(self, batch_size: int, units: tuple[int, int], device: torch.device | str,
                    generator: torch.Generator | None) -> MaskPlan:
        """The host's own random masking, for the warm-up."""
        counts = split_counts(units[0] * units[1], self.warmup_mask_ratio,
                              self.warmup_throw_ratio, self.rounding, 'warmup_')
        return _plan_by_chance(batch_size, units, counts, device, generator)

    @abstractmethod
    def guided_plan(self, weights: Tensor, units: tuple[int, int],
                    generator: torch.Generator | None) -> MaskPlan:
        """The plan of a batch whose weights are known.

        Args:
            weights: One weight a unit, ``(B, number of units)``.
            units: Rows and columns of units.
            generator: Source of chance.
        """

    def _sum_units(self, weights: Tensor, grid: tuple[int, int]) -> Tensor:
        """Weights of units from weights of tokens: their sum, ``(B, number of units)``."""
        if self.unit == 1:
            return weights
        rows, columns = grid[0] // self.unit, grid[1] // self.unit
        blocks = weights.reshape(-1, rows, self.unit, columns, self.unit)
        return blocks.sum(dim=(2, 4)).flatten(1)


def _plan_by_chance(batch_size: int, units: tuple[int, int], counts: tuple[int, int],
                    device: torch.device | str, generator: torch.Generator | None) -> MaskPlan:
    order = rank_uniform(batch_size, units[0] * units[1], device, generator)
    return MaskPlan.from_order(order, *counts, units)


class RandomMaskGenerator(MaskGenerator):
    """Random masking and, with ``throw_ratio``, random throwing; no weights used.

    Args:
        mask_ratio: Share of masked tokens. Defaults to MAE's .75.
        throw_ratio: Share of thrown tokens. Defaults to 0. The control
            "random throw" of AMT's Table 4 is ``mask_ratio=.45, throw_ratio=.40``.
        **kwargs: See :class:`MaskGenerator`.
    """

    needs_weights = False

    def __init__(self, mask_ratio: float = 0.75, throw_ratio: float = 0.0, **kwargs) -> None:
        for name in ('warmup_mask_ratio', 'warmup_throw_ratio'):
            if kwargs.pop(name, None) is not None:
                raise InputError(f'RandomMaskGenerator has no warm-up: leave {name} out')
        super().__init__(mask_ratio, throw_ratio, **kwargs)

    def random_plan(self, batch_size: int, units: tuple[int, int], device: torch.device | str,
                    generator: torch.Generator | None) -> MaskPlan:
        """Random plan by the generator's own two ratios."""
        counts = split_counts(units[0] * units[1], self.mask_ratio, self.throw_ratio,
                              self.rounding)
        return _plan_by_chance(batch_size, units, counts, device, generator)

    def guided_plan(self, weights: Tensor, units: tuple[int, int],
                    generator: torch.Generator | None) -> MaskPlan:
        """The same as without weights."""
        return self.random_plan(len(weights), units, weights.device, generator)


class AMTMaskGenerator(MaskGenerator):
    """Attention-driven masking and throwing (AMT, AAAI 2023, eq. 5 and 6).

    Tokens are ranked by sampling with the saliency as weight: highly attended
    ones tend to come first but may come last. The first ``r N`` are masked. Of
    the others ``t N`` are thrown, the rest stays visible. With ``throw_ratio=0``
    this is attention-driven masking alone (AM).

    Args:
        mask_ratio: Masking ratio r. Defaults to .45, the paper's for MAE.
        throw_ratio: Throwing ratio t. Defaults to .40, the paper's for MAE.
        throw: What is thrown of the tokens that are not masked (Table 4):
            ``'middle'``, the next in the ranking (the paper's choice); ``'low'``,
            the end of the ranking, so that the middle stays visible; ``'random'``,
            any of them.
        mask: What is masked: ``'high'``, the head of the ranking (the paper's choice);
            ``'random'``, with ``throw='low'``, any of the tokens that are not thrown, so
            that saliency says only what is not worth computing.
        visible: What the encoder sees: ``'ranked'``, what the two above leave of the
            ranking (the paper's choice); ``'random'``, any tokens, so that every patch is
            seen as often as every other. Then saliency says which of the hidden ones are
            predicted, the head of their ranking, and which are thrown, its end.
        warmup_mask_ratio: Random masking before the first refresh. Defaults to
            .75, MAE's own ratio.
        weighting: How saliency becomes the weights of the ranking, a
            :class:`~amt_mm.masking.weighting.Weighting` or a dict of its arguments, such
            as ``dict(temperature=2)``. Defaults to None: as it is, as in the paper.
        hint_ratio: Share of the masked tokens that are shown instead, see
            :func:`~amt_mm.masking.hint.show_some`. Defaults to 0, as in the paper.
        **kwargs: See :class:`MaskGenerator`.

    Raises:
        InputError: An unknown ``throw``, ``mask`` or ``visible``, values out of range, or
            settings of which one would have no effect.
    """

    THROWS, MASKS, VISIBLES = names.THROWS, names.MASKS, names.VISIBLES

    def __init__(self, mask_ratio: float = 0.45, throw_ratio: float = 0.40, throw: str = 'middle',
                 mask: str = 'high', visible: str = 'ranked', warmup_mask_ratio: float = 0.75,
                 weighting: Weighting | dict | None = None, hint_ratio: float = 0.0,
                 **kwargs) -> None:
        super().__init__(mask_ratio, throw_ratio, warmup_mask_ratio, **kwargs)
        for name, given, known in (('throw', throw, self.THROWS), ('mask', mask, self.MASKS),
                                   ('visible', visible, self.VISIBLES)):
            if given not in known:
                raise InputError(f'{name}={given!r} is unknown: use one of {", ".join(known)}')
        if mask == 'random' and (throw != 'low' or hint_ratio):
            raise InputError("mask='random' takes any tokens that are not thrown: it goes with "
                             "throw='low' and without hint_ratio")
        if visible == 'random' and (throw != 'middle' or hint_ratio):
            raise InputError("visible='random' throws the end of what is hidden: it goes with "
                             "throw='middle', mask='high' and without hint_ratio")
        check_hint(hint_ratio, mask_ratio, throw_ratio)
        self.throw = throw
        self.mask = mask
        self.visible = visible
        self.weighting = Weighting.of(weighting)
        self.hint_ratio = hint_ratio

    def guided_plan(self, weights: Tensor, units: tuple[int, int],
                    generator: torch.Generator | None) -> MaskPlan:
        """Weigh, rank by weighted sampling, then cut."""
        num_units = units[0] * units[1]
        num_masked, num_thrown = split_counts(num_units, self.mask_ratio, self.throw_ratio,
                                              self.rounding)
        order = rank_by_sampling(self.weigh(weights), generator)
        if self.visible == 'random':
            # Whichever are taken out, what is left of a ranking has the law of their own ranking.
            shown = rank_uniform(*order.shape, order.device, generator)[:, num_masked + num_thrown:]
            last = torch.zeros_like(order).scatter_(1, shown, 1)
            order = order.gather(1, last.argsort(dim=1, stable=True))
        if self.mask == 'random':
            kept = order[:, :num_units - num_thrown]
            order = torch.cat([shuffled(kept, generator), order[:, num_units - num_thrown:]], 1)
        masked, rest = order[:, :num_masked], order[:, num_masked:]
        if self.throw == 'low':
            rest = rest.flip(1)
        elif self.throw == 'random':
            rest = shuffled(rest, generator)
        order = show_some(torch.cat([masked, rest], dim=1), num_masked, num_thrown,
                          self.hint_ratio, generator)
        return MaskPlan.from_order(order, num_masked, num_thrown, units)

    def weigh(self, saliency: Tensor) -> Tensor:
        """Weights to draw by from the saliency of each unit, both ``(B, number of units)``."""
        return self.weighting(saliency)
