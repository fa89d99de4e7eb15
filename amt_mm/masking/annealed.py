"""From random masking to guided masking in the course of training."""

from __future__ import annotations

import torch
from torch import Tensor

from amt_mm.errors import InputError

from .generators import AMTMaskGenerator
from .plan import MaskPlan


class AnnealedMaskGenerator(AMTMaskGenerator):
    """AMT that begins at random and is guided more and more.

    HPM (Wang et al., "Hard Patches Mining for Masked Image Modeling", CVPR 2023,
    easy-to-hard mask generation) raises the share of chosen tokens linearly from
    random masking on. Here each weight is mixed with the mean one,
    ``(1 - progress) * mean + progress * weight``: the first token is drawn by
    chance with probability ``1 - progress`` and by weight with ``progress``. So
    progress 0 is random masking and throwing at the same ratios, 1 is AMT, and no
    count of tokens ever changes.

    Args:
        **kwargs: See :class:`~amt_mm.masking.generators.AMTMaskGenerator`.

    Attributes:
        progress: How far training is, from 0 to 1, or None as long as nobody has
            said so. ``amt_mm.MaskProgressHook`` sets it before each iteration.

    Raises:
        InputError: A guided plan is asked for and ``progress`` is None or out of
            range.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.progress: float | None = None

    def finish(self) -> None:
        """Be as in the last iteration."""
        self.progress = 1.0

    def guided_plan(self, weights: Tensor, units: tuple[int, int],
                    generator: torch.Generator | None) -> MaskPlan:
        """Mix the weights with their mean, then as AMT."""
        if self.progress is None:
            raise InputError('AnnealedMaskGenerator does not know how far training is: add '
                             "dict(type='amt_mm.MaskProgressHook') to custom_hooks, or set its "
                             '`progress`')
        if not 0 <= self.progress <= 1:
            raise InputError(f'progress={self.progress} must lie between 0 and 1')
        mixed = ((1 - self.progress) * weights.mean(dim=1, keepdim=True)
                 + self.progress * weights)
        return super().guided_plan(mixed, units, generator)
