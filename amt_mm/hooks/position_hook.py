"""PositionHook: a checkpoint says where in the order of the samples it was saved."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.registry import HOOKS

_CHECKPOINT_KEY = 'amt_position'


@HOOKS.register_module()
class PositionHook(Hook):
    """Keep the training loop's position in checkpoints, and take it up on resume.

    A checkpoint from the middle of an epoch goes on with the next batch; those that the
    epoch has seen are not loaded again. One of an epoch's end fits any batch size and
    number of processes.

    Raises:
        InputError: On resume from the middle of a pass over the data, with other batches
            or another number of processes.
    """

    # Before whatever asks where training stands.
    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self._position: dict | None = None

    def before_train(self, runner: Runner) -> None:
        """On resume, take the position up."""
        if runner.iter > 0 and hasattr(runner.train_loop, 'take_up'):
            runner.train_loop.take_up(self._position)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Say the position."""
        if hasattr(runner.train_loop, 'position'):
            checkpoint[_CHECKPOINT_KEY] = runner.train_loop.position(checkpoint['meta'])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remember the position until training begins."""
        self._position = checkpoint.get(_CHECKPOINT_KEY)
