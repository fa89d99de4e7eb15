"""LastBatchHook: no training batch of a single image where batch norm needs two."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.errors import InputError
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class LastBatchHook(Hook):
    """Stop before the first step when an epoch would end with one image alone.

    Batch norm would raise there, hours later, without a word on the cause.

    Raises:
        InputError: With the numbers and what to set.
    """

    def before_train(self, runner: Runner) -> None:
        """Count what is left for the last batch of each process."""
        loader = runner.train_dataloader
        size = loader.batch_size
        if size is not None and not loader.drop_last and len(loader.sampler) % size == 1:
            raise InputError(
                f'{len(loader.sampler)} training images a process in batches of {size} leave one '
                'image for the last batch, and batch norm needs two: set '
                f'train_dataloader.batch_size={size - 1}, or train_dataloader.drop_last=True')
