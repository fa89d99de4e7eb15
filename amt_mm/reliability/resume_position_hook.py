"""ResumePositionHook: a checkpoint says where in the order of the samples it was saved."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.checkpoints.records import check_record, is_step, is_step_or_none
from amt_mm.registry import HOOKS

from .open_gradients import take_up_gradients

_CHECKPOINT_KEY = 'amt_position'
_GRADIENTS_KEY = 'amt_open_gradients'
_KINDS = {'number': is_step, 'batch': is_step, 'batches': is_step, 'batch size': is_step_or_none,
          'processes': is_step, 'seed': is_step_or_none, 'order seed': is_step_or_none}


@HOOKS.register_module()
class ResumePositionHook(Hook):
    """Keep the training loop's position in checkpoints, and take it up on resume.

    A checkpoint from the middle of an epoch goes on with the next batch; those that the
    epoch has seen are not loaded again. One of an epoch's end fits any batch size and
    number of processes. One from within a cycle of gradient accumulation has the
    gradients of each process.

    Raises:
        InputError: On resume from the middle of a pass over the data, with other batches
            or another number of processes; or from within a cycle of accumulation that
            was of another number of processes.
    """

    # Before whatever asks where training stands.
    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._position: dict | None = None
        self._gradients: list | None = None

    def before_train(self, runner: Runner) -> None:
        """On resume, take the position up."""
        if runner.iter > 0 and hasattr(runner.train_loop, 'take_up'):
            runner.train_loop.take_up(self._position)
        if runner.iter > 0 and self._gradients is not None:
            take_up_gradients(runner, self._gradients)
        self._gradients = None

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Say the position."""
        if hasattr(runner.train_loop, 'position'):
            checkpoint[_CHECKPOINT_KEY] = runner.train_loop.position(checkpoint['meta'])
        # Of OverlayRunner alone, which asks all processes; this is the first one.
        gradients = getattr(runner, 'open_gradients', None)
        if gradients is not None:
            checkpoint[_GRADIENTS_KEY] = gradients

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the position until training begins."""
        position = checkpoint.get(_CHECKPOINT_KEY)
        self._position = position and check_record(position, _KINDS, f'{_CHECKPOINT_KEY} of the '
                                                   'checkpoint')
        self._gradients = checkpoint.get(_GRADIENTS_KEY)
