"""ProgressBarHook: a progress bar with epoch, loss, speed and remaining time."""

from __future__ import annotations

import logging

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import EpochBasedTrainLoop, Runner
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from amt_mm.registry import HOOKS


@HOOKS.register_module()
class ProgressBarHook(Hook):
    """Show a progress bar on a terminal, with MMEngine's log lines above it.

    Args:
        interval: Iterations between readings of the loss, which synchronise with the device.
            Defaults to 10.
    """

    priority = 'LOWEST'

    def __init__(self, interval: int = 10) -> None:
        self.interval = interval

    def before_train(self, runner: Runner) -> None:
        """Open the bar."""
        self._bar = tqdm(total=runner.max_iters, initial=runner.iter, unit='step', smoothing=0.05,
                         disable=None if is_main_process() else True)
        self._redirect = logging_redirect_tqdm([runner.logger])
        if not self._bar.disable:
            level = min((handler.level for handler in runner.logger.handlers
                         if type(handler) is logging.StreamHandler), default=logging.NOTSET)
            self._redirect.__enter__()
            # tqdm's handler, the last one, would print every level.
            runner.logger.handlers[-1].setLevel(level)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Advance by one step."""
        self._bar.update()
        if not self._bar.disable and self.every_n_train_iters(runner, self.interval):
            if isinstance(runner.train_loop, EpochBasedTrainLoop):
                self._bar.set_description(f'epoch {runner.epoch + 1}/{runner.max_epochs}')
            shown = {'loss': f'{float(outputs["loss"].detach()):.4f}'}
            batch = getattr(runner.train_dataloader, 'batch_size', None)
            if batch and (rate := self._bar.format_dict['rate']):
                shown['images/s'] = f'{rate * batch * runner.world_size:.4g}'
            self._bar.set_postfix(shown)

    def after_train(self, runner: Runner) -> None:
        """Close the bar."""
        if not self._bar.disable:
            self._redirect.__exit__(None, None, None)
        self._bar.close()
