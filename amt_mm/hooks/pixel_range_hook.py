"""PixelRangeHook: warn of mean and standard deviation that do not fit the images."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import Tensor

from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS

# Normalised images of a batch have a mean of about 0 and a deviation of about 1.
_MOST_MEAN = 5.0
_DEVIATIONS = (0.1, 10.0)


@HOOKS.register_module()
class PixelRangeHook(Hook):
    """Warn, in the first step, if the first batch is far from normalised.

    So of statistics in 0..1 for pixels in 0..255, or the other way round, with which a network
    trains without a word and learns little.
    """

    def before_train(self, runner: Runner) -> None:
        """Look at the first batch of this process's run."""
        self._looked = False

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None
                          ) -> None:
        """Compare the batch with what the preprocessor subtracts and divides by."""
        if self._looked or not isinstance(data_batch, dict):
            return
        self._looked = True
        images = data_batch.get('inputs')
        preprocessor = getattr(unwrapped(runner), 'data_preprocessor', None)
        mean, std = (getattr(preprocessor, name, None) for name in ('mean', 'std'))
        if isinstance(images, Sequence) and images:  # several views of each image
            images = images[0]
        if not isinstance(images, Tensor) or images.ndim != 4 or mean is None or std is None:
            return
        # On the CPU, where nothing has to wait.
        values = (images.detach().float().cpu() - mean.cpu()) / std.cpu()
        # Of the channel that is farthest from 0, and of the one that varies most.
        means = values.mean(dim=(0, 2, 3))  # (C,)
        centre = float(means[means.abs().argmax()])
        deviation = float(values.std(dim=(0, 2, 3)).max())
        if not (abs(centre) <= _MOST_MEAN and _DEVIATIONS[0] <= deviation <= _DEVIATIONS[1]):
            print_log(
                f'data_preprocessor.mean and std do not fit the images: the first batch has a mean '
                f'of {centre:.3g} and a deviation of {deviation:.3g} after normalisation, not '
                'about 0 and 1. Both are in 0..255, as the pixels are; amt statistics FOLDER '
                'computes them.', runner.logger, logging.WARNING)
