"""CropMasking: which tokens of which crops distillation masks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from amt_mm.errors import InputError

from .attmask import VARIANTS, check_show, rank_attmask
from .block import rank_by_blocks
from .ranking import rank_by_sampling, rank_uniform
from .token_mask import TokenMask

STRATEGIES = ('random', 'block', 'sampled', *VARIANTS)


class CropMasking:
    """Masks of iBOT and of AttMask: a score a token in, a :class:`TokenMask` out.

    Each crop is masked with probability ``gate``, independently; a masked one loses
    ``floor(N r)`` tokens, with r uniform in ``ratio``.

    Args:
        strategy: ``'random'`` or ``'block'``, iBOT's own; AttMask's ``'high'``,
            ``'hint'`` and ``'low'`` (ECCV 2022, sec. 3.2); or ``'sampled'``, AMT's
            weighted sampling (AAAI 2023, eq. 5) by the same scores.
        ratio: Least and largest share of masked tokens. Defaults to .1 and .5:
            .3 +- .2, iBOT's and AttMask's.
        gate: Probability that a crop is masked. Defaults to .5, theirs.
        shared_ratio: One r for all crops of the batch, as AttMask draws it, instead
            of one a crop, as iBOT does. Defaults to None: iBOT's way for ``'random'``
            and ``'block'``, AttMask's for all that need scores.
        show: With ``'hint'``: share of tokens that are the very top;
            ``floor(show N r')`` of it are shown, r' a second draw of the ratio, and no
            others masked instead. Defaults to the paper's .1.

    Raises:
        InputError: An unknown strategy or impossible numbers.
    """

    def __init__(self, strategy: str, ratio: tuple[float, float] = (0.1, 0.5), gate: float = 0.5,
                 shared_ratio: bool | None = None, show: float = 0.1) -> None:
        if strategy not in STRATEGIES:
            raise InputError(f'strategy={strategy!r} is unknown: use one of '
                             f'{", ".join(STRATEGIES)}')
        low, high = ratio
        if not 0 <= low <= high < 1:
            raise InputError(f'ratio={tuple(ratio)} must be the least and the largest share of '
                             'masked tokens, each at least 0 and less than 1')
        if not 0 <= gate <= 1:
            raise InputError(f'gate={gate} must be a probability')
        check_show(show, low if strategy == 'hint' else 1)
        self.strategy = strategy
        self.ratio = low, high
        self.gate = gate
        self.needs_scores = strategy not in ('random', 'block')
        self.shared_ratio = self.needs_scores if shared_ratio is None else shared_ratio
        self.show = show

    def __call__(self, batch_size: int, grid: tuple[int, int], scores: Tensor | None = None,
                 device: torch.device | str = 'cpu', generator: torch.Generator | None = None,
                 host_generator: torch.Generator | None = None) -> TokenMask:
        """Make the masks of a batch of crops.

        Args:
            batch_size: Number of crops B, both global ones of each image.
            grid: Rows and columns of tokens, ``(h, w)``.
            scores: Attention of each token, ``(B, h * w)``, where the strategy needs it.
            device: Where the masks are made if there are no scores.
            generator: Source of chance on the device. Defaults to torch's own.
            host_generator: Source of the ratios and gates, which the CPU must know.
                Defaults to torch's own of the CPU.

        Raises:
            InputError: Scores are missing or of another shape.
        """
        num_tokens = grid[0] * grid[1]
        if self.needs_scores and (scores is None or scores.shape != (batch_size, num_tokens)):
            found = None if scores is None else tuple(scores.shape)
            raise InputError(f'strategy={self.strategy!r} needs the attention of {batch_size} '
                             f'crops of {num_tokens} tokens, not {found}')
        counts = self._counts(batch_size, num_tokens, host_generator)
        if self.strategy == 'random':
            order = rank_uniform(batch_size, num_tokens, device, generator)
        elif self.strategy == 'block':
            order = rank_by_blocks(counts, grid, device=device, generator=generator)
        elif self.strategy == 'sampled':
            order = rank_by_sampling(scores, generator)
        else:
            pool, shown = math.floor(num_tokens * self.show), 0
            if self.strategy == 'hint':
                shown = math.floor(num_tokens * self.show * self._draw(1, host_generator).item())
            order = rank_attmask(scores, self.strategy, pool, shown, generator)
            counts = counts - shown
        masked = torch.rand(batch_size, generator=host_generator) < self.gate
        return TokenMask.from_order(order, torch.where(masked, counts, 0), grid)

    def _counts(self, batch_size: int, num_tokens: int, generator: torch.Generator | None
                ) -> Tensor:
        """Tokens to mask in each crop, ``(B,)`` int64."""
        ratios = self._draw(1 if self.shared_ratio else batch_size, generator)
        return (ratios * num_tokens).floor().long().expand(batch_size)

    def _draw(self, number: int, generator: torch.Generator | None) -> Tensor:
        low, high = self.ratio
        return low + (high - low) * torch.rand(number, dtype=torch.float64, generator=generator)
