"""Between random and guided masking in the course of training."""

from __future__ import annotations

from torch import Tensor

from amt_mm.errors import InputError

from .generators import AMTMaskGenerator

SCHEDULES = ('in', 'out', 'in-out')


class AnnealedMaskGenerator(AMTMaskGenerator):
    """AMT whose guidance grows, or wears off, with training.

    HPM (Wang et al., "Hard Patches Mining for Masked Image Modeling", CVPR 2023,
    easy-to-hard mask generation) raises the share of chosen tokens linearly from
    random masking on. Here each weight is mixed with the mean one,
    ``(1 - guidance) * mean + guidance * weight``: the first token is drawn by
    chance with probability ``1 - guidance`` and by weight with ``guidance``. So
    guidance 0 is random masking and throwing at the same ratios, 1 is AMT, and no
    count of tokens ever changes.

    Args:
        schedule: How guidance follows from progress p, linearly: ``'in'``, p, the
            default and HPM's; ``'out'``, 1 - p: guided first, random at the end;
            ``'in-out'``, from 0 to 1 half way and back to 0.
        **kwargs: See :class:`~amt_mm.masking.generators.AMTMaskGenerator`. What is mixed
            are the weights as ``weighting`` makes them.

    Attributes:
        progress: How far training is, from 0 to 1, or None as long as nobody has
            said so. ``amt_mm.MaskProgressHook`` sets it before each iteration.

    Raises:
        InputError: An unknown schedule; a guided plan is asked for and ``progress`` is
            None or out of range.
    """

    def __init__(self, schedule: str = 'in', **kwargs) -> None:
        super().__init__(**kwargs)
        if schedule not in SCHEDULES:
            raise InputError(f'schedule={schedule!r} is unknown: use one of '
                             f'{", ".join(SCHEDULES)}')
        self.schedule = schedule
        self.progress: float | None = None

    def finish(self) -> None:
        """Be as in the last iteration."""
        self.progress = 1.0

    @property
    def guidance(self) -> float:
        """Share of the weights in the mixture, from 0 to 1, by schedule and progress.

        Raises:
            InputError: ``progress`` is None or out of range.
        """
        if self.progress is None:
            raise InputError('AnnealedMaskGenerator does not know how far training is: add '
                             "dict(type='amt_mm.MaskProgressHook') to custom_hooks, or set its "
                             '`progress`')
        if not 0 <= self.progress <= 1:
            raise InputError(f'progress={self.progress} must lie between 0 and 1')
        return {'in': self.progress, 'out': 1 - self.progress,
                'in-out': 1 - abs(2 * self.progress - 1)}[self.schedule]

    def weigh(self, saliency: Tensor) -> Tensor:
        """Weights as AMT has them, mixed with their mean."""
        weights, guidance = super().weigh(saliency), self.guidance
        return (1 - guidance) * weights.mean(dim=1, keepdim=True) + guidance * weights
