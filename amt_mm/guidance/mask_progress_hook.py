"""MaskProgressHook: tell the mask generator how far training is."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class MaskProgressHook(Hook):
    """Set ``progress`` of the mask generator before each iteration.

    It is 0 in the first iteration of training and 1 in the last. It follows from
    the iteration alone, so a resumed run has that of an unbroken one. Guidance
    by attention begins at the first refresh, wherever progress is by then (.2
    at epoch 40 of 200).

    Raises:
        InputError: At the start of training, a generator that knows no progress.
    """

    def before_train(self, runner: Runner) -> None:
        """Check that somebody listens."""
        generator = _generator(runner)
        if not hasattr(generator, 'progress'):
            raise InputError(f'MaskProgressHook has nobody to tell: {type(generator).__name__} '
                             "changes nothing with progress; use 'amt_mm.AnnealedMaskGenerator' or "
                             'leave the hook out')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None
                          ) -> None:
        """Set the progress of this iteration, whose batch is planned after this."""
        last = max(runner.max_iters - 1, 1)
        _generator(runner).progress = runner.iter / last


def _generator(runner: Runner) -> object:
    model = unwrapped(runner)
    return getattr(model.data_preprocessor, 'mask_generator', None)
