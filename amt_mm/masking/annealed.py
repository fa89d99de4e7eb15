"""AMT with guidance that is annealed over training."""

from __future__ import annotations

from torch import Tensor

from amt_mm.checks import check_choice
from amt_mm.errors import InputError

from .amt import AMTMaskGenerator


class AnnealedMaskGenerator(AMTMaskGenerator):
    """AMT whose guidance increases or decreases over training.

    Each weight is mixed with the mean weight, ``(1 - guidance) * mean + guidance * weight``: the
    first token is drawn uniformly with probability ``1 - guidance`` and by weight otherwise.
    Guidance 0 is random masking and throwing at the same ratios, guidance 1 is AMT; the numbers of
    tokens never change. After the easy-to-hard mask generation of HPM (Wang et al., "Hard Patches
    Mining for Masked Image Modeling", CVPR 2023), which increases the share of chosen tokens
    linearly from random masking.

    Args:
        schedule: Guidance as a linear function of progress p: ``'in'``, p, the default, as in HPM;
            ``'out'``, 1 - p; ``'in-out'``, from 0 to 1 at half of training and back to 0.
        **kwargs: See :class:`~amt_mm.masking.generators.AMTMaskGenerator`. The result of
            ``weighting`` is mixed.

    Attributes:
        progress: Elapsed share of training, from 0 to 1; None until it is set, before each
            iteration, by ``amt_mm.MaskProgressHook``.

    Raises:
        InputError: ``schedule`` is unknown; or, for a guided plan, ``progress`` is None or out of
            range.
    """

    def __init__(self, schedule: str = 'in', **kwargs) -> None:
        super().__init__(**kwargs)
        check_choice('schedule', schedule, ('in', 'out', 'in-out'))
        self.schedule = schedule
        self.progress: float | None = None

    def finish(self) -> None:
        """Set the progress to the end of training."""
        self.progress = 1.0

    @property
    def guidance(self) -> float:
        """Share of the weights in the mixture, from 0 to 1.

        Raises:
            InputError: ``progress`` is None or out of range.
        """
        if self.progress is None:
            raise InputError('AnnealedMaskGenerator does not know the progress of training: add '
                             "dict(type='amt_mm.MaskProgressHook') to custom_hooks, or set its "
                             '`progress`')
        if not 0 <= self.progress <= 1:
            raise InputError(f'progress={self.progress} must lie between 0 and 1')
        return {'in': self.progress, 'out': 1 - self.progress,
                'in-out': 1 - abs(2 * self.progress - 1)}[self.schedule]

    def weigh(self, saliency: Tensor) -> Tensor:
        """Compute AMT's weights and mix them with their mean."""
        weights, guidance = super().weigh(saliency), self.guidance
        return (1 - guidance) * weights.mean(dim=1, keepdim=True) + guidance * weights
