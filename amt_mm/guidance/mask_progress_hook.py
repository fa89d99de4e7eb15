"""MaskProgressHook: pass the progress of training to the mask generator."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class MaskProgressHook(Hook):
    """Set ``progress`` of the mask generator before each iteration.

    It rises from 0 in the first iteration of training to 1 in the last and depends only on the
    iteration, so a resumed run continues it. Guidance by attention begins at the first refresh,
    whatever the progress is then (.2 at epoch 40 of 200).

    Raises:
        InputError: The generator has no ``progress``.
    """

    def before_train(self, runner: Runner) -> None:
        """Check the generator."""
        generator = _generator(runner)
        if not hasattr(generator, 'progress'):
            raise InputError(f'MaskProgressHook: {type(generator).__name__} does not use progress; '
                             "use 'amt_mm.AnnealedMaskGenerator' or leave the hook out")

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None
                          ) -> None:
        """Set the progress of this iteration, before its masks are planned."""
        _generator(runner).progress = runner.iter / max(runner.max_iters - 1, 1)


def _generator(runner: Runner) -> object:
    return getattr(unwrapped(runner).data_preprocessor, 'mask_generator', None)
