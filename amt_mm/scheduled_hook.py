"""Base class of hooks that act every few epochs or iterations."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from amt_mm.errors import InputError


class ScheduledHook(Hook):
    """A hook that acts at ``begin`` and every ``interval`` after it.

    Args:
        begin: Epochs (or iterations) before the first time.
        interval: Epochs (or iterations) between two times. Defaults to 1: always, from ``begin``.
        end: First epoch (or iteration) at which it no longer acts. Defaults to None: never.
        by_epoch: Count epochs; False counts iterations, for iteration-based loops.

    Raises:
        InputError: An invalid schedule.
    """

    def __init__(self, begin: int, interval: int = 1, end: int | None = None,
                 by_epoch: bool = True) -> None:
        given = [begin, interval] if end is None else [begin, interval, end]
        if (any(type(step) is not int for step in given) or begin < 0 or interval < 1
                or (end is not None and end <= begin)):
            raise InputError(f'begin={begin!r}, interval={interval!r}, end={end!r} of '
                             f'{type(self).__name__} is an invalid schedule: use integers, begin '
                             '>= 0, interval >= 1, end > begin')
        if type(by_epoch) is not bool:
            raise InputError(f'by_epoch={by_epoch!r} must be True or False')
        self.begin = begin
        self.interval = interval
        self.end = end
        self.by_epoch = by_epoch

    def is_due(self, step: int) -> bool:
        """Return whether the hook acts after ``step`` epochs (or iterations)."""
        return (step >= self.begin and (self.end is None or step < self.end)
                and (step - self.begin) % self.interval == 0)

    def steps_done(self, runner: Runner) -> int:
        """Return the finished epochs (or iterations)."""
        return runner.epoch if self.by_epoch else runner.iter

    def check_loop(self, runner: Runner) -> None:
        """Raise InputError if the training loop does not count epochs but the hook does."""
        if self.by_epoch and isinstance(runner.train_loop, IterBasedTrainLoop):
            raise InputError('this training loop counts iterations: set by_epoch=False, and begin '
                             f'and interval in iterations, in {type(self).__name__}')
