"""CropMasking: which tokens of which crops are masked in self-distillation."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from amt_mm.checks import check_choice
from amt_mm.errors import InputError

from . import attmask
from .block import rank_by_blocks
from .hint import check_hint_pool
from .ranking import rank_by_sampling, rank_uniform
from .token_mask import TokenMask

STRATEGIES = ('random', 'block', 'sampled', *attmask.STRATEGIES)


class CropMasking:
    """Masks of iBOT and AttMask: one weight per token in, a :class:`TokenMask` out.

    Each crop is masked independently with probability ``gate``; ``floor(N r)`` of its tokens are
    masked, with r uniform in ``ratio``.

    Args:
        strategy: ``'random'`` or ``'block'``, as in iBOT; ``'high'``, ``'hint'`` or ``'low'``, as
            in AttMask (ECCV 2022, sec. 3.2); or ``'sampled'``, AMT's weighted sampling (AAAI 2023,
            eq. 5) by the same weights.
        ratio: Lowest and highest share of masked tokens. Defaults to .1 and .5: .3 +- .2, as in
            iBOT and AttMask.
        gate: Probability that a crop is masked. Defaults to .5, as in both.
        shared_ratio: Whether all crops of the batch share one r, as in AttMask, or each has its
            own, as in iBOT. Defaults to None: shared for strategies that need weights.
        show: With ``'hint'``: the most attended share of tokens, from which hints are drawn.
            ``floor(show N r')`` of them are revealed, with r' a second draw of the ratio, and no
            others masked instead. Defaults to .1, as in the paper.

    Raises:
        InputError: ``strategy`` is unknown, or a number out of range.
    """

    def __init__(self, strategy: str, ratio: tuple[float, float] = (0.1, 0.5), gate: float = 0.5,
                 shared_ratio: bool | None = None, show: float = 0.1) -> None:
        check_choice('strategy', strategy, STRATEGIES)
        low, high = ratio
        if not 0 <= low <= high < 1:
            raise InputError(f'ratio={tuple(ratio)} must be the lowest and the highest share of '
                             'masked tokens, each at least 0 and less than 1')
        if not 0 <= gate <= 1:
            raise InputError(f'gate={gate} must be a probability')
        check_hint_pool(show, low if strategy == 'hint' else 1)
        self.strategy = strategy
        self.ratio = low, high
        self.gate = gate
        self.needs_weights = strategy not in ('random', 'block')
        self.shared_ratio = self.needs_weights if shared_ratio is None else shared_ratio
        self.show = show

    def __call__(self, batch_size: int, grid: tuple[int, int], weights: Tensor | None = None,
                 device: torch.device | str = 'cpu', generator: torch.Generator | None = None,
                 host_generator: torch.Generator | None = None) -> TokenMask:
        """Make the masks of a batch of crops.

        Args:
            batch_size: Number of crops B, including both global ones of each image.
            grid: Rows and columns of tokens, ``(h, w)``.
            weights: Attention of each token, ``(B, h * w)``, if the strategy needs it.
            device: Device of the masks if there are no weights.
            generator: Random generator of the device. Defaults to its default one.
            host_generator: Random generator of the ratios and gates, which the CPU must know.
                Defaults to the CPU's default one.

        Raises:
            InputError: Weights are missing or of another shape.
        """
        num_tokens = grid[0] * grid[1]
        if self.needs_weights and (weights is None or weights.shape != (batch_size, num_tokens)):
            found = None if weights is None else tuple(weights.shape)
            raise InputError(f'strategy={self.strategy!r} needs the attention of {batch_size} '
                             f'crops of {num_tokens} tokens, not {found}')
        ratios = self._draw_ratios(1 if self.shared_ratio else batch_size, host_generator)
        counts = (ratios * num_tokens).floor().long().expand(batch_size)
        if self.strategy == 'random':
            order = rank_uniform(batch_size, num_tokens, device, generator)
        elif self.strategy == 'block':
            order = rank_by_blocks(counts, grid, device=device, generator=generator)
        elif self.strategy == 'sampled':
            order = rank_by_sampling(weights, generator)
        else:
            pool_size, num_hints = math.floor(num_tokens * self.show), 0
            if self.strategy == 'hint':
                ratio = self._draw_ratios(1, host_generator).item()
                num_hints = math.floor(num_tokens * self.show * ratio)
            order = attmask.rank_attmask(weights, self.strategy, pool_size, num_hints, generator)
            counts = counts - num_hints
        masked = torch.rand(batch_size, generator=host_generator) < self.gate
        return TokenMask.from_order(order, torch.where(masked, counts, 0), grid)

    def _draw_ratios(self, number: int, generator: torch.Generator | None) -> Tensor:
        low, high = self.ratio
        return low + (high - low) * torch.rand(number, dtype=torch.float64, generator=generator)
