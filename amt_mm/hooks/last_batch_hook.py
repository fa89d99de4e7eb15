"""LastBatchHook: refuse a last training batch of one image, for batch norm needs two."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.errors import InputError
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class LastBatchHook(Hook):
    """Stop before the first step if the last batch of an epoch would hold one image.

    Otherwise batch norm would fail there, hours later, with an error that does not name the cause.

    Raises:
        InputError: Names the numbers and what to set.
    """

    def before_train(self, runner: Runner) -> None:
        """Check the size of each process's last batch."""
        loader = runner.train_dataloader
        size = loader.batch_size
        if size is not None and not loader.drop_last and len(loader.sampler) % size == 1:
            raise InputError(
                f'{len(loader.sampler)} training images per process in batches of {size} leave '
                'one image for the last batch, but batch norm needs two: set '
                f'train_dataloader.batch_size={size - 1}, or train_dataloader.drop_last=True')
