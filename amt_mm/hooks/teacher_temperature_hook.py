"""TeacherTemperatureHook: warm up the teacher's temperature."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class TeacherTemperatureHook(Hook):
    """Raise the teacher's temperature linearly over the first epochs (DINO, app. C; iBOT).

    The defaults are those of iBOT and AttMask.

    Args:
        start: Temperature of the first epoch. Defaults to .04.
        end: Temperature after the warm-up. Defaults to .07.
        epochs: Length of the warm-up. Defaults to 30.

    Raises:
        InputError: A value is out of range, or the training loop is iteration-based.
    """

    def __init__(self, start: float = 0.04, end: float = 0.07, epochs: int = 30) -> None:
        if start <= 0 or end <= 0 or epochs < 1:
            raise InputError(f'TeacherTemperatureHook: start={start} and end={end} must be '
                             f'positive, epochs={epochs} at least 1')
        self.start = start
        self.end = end
        self.epochs = epochs

    def before_train(self, runner: Runner) -> None:
        """Check the loop."""
        if isinstance(runner.train_loop, IterBasedTrainLoop):
            raise InputError('TeacherTemperatureHook needs an epoch-based training loop: set '
                             'model.teacher_temperature and leave the hook out')

    def before_train_epoch(self, runner: Runner) -> None:
        """Set the temperature of this epoch."""
        share = 1.0 if self.epochs == 1 else min(runner.epoch / (self.epochs - 1), 1.0)
        unwrapped(runner).teacher_temperature.fill_(self.start + (self.end - self.start) * share)
