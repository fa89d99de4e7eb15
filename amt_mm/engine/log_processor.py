"""SpeedLogProcessor: MMEngine's training log lines, with images per second."""

from __future__ import annotations

from mmengine.registry import LOG_PROCESSORS
from mmengine.runner import LogProcessor, Runner


@LOG_PROCESSORS.register_module()
class SpeedLogProcessor(LogProcessor):
    """Add images per second, over all processes, to the log lines and scalars of training.

    This is the batch size divided by the ``time`` of the same line, a mean over ``window_size``
    steps. It is left out if the data loader has no batch size.
    """

    def get_log_after_iter(self, runner: Runner, batch_idx: int, mode: str) -> tuple[dict, str]:
        """Return the scalars and the line of a step."""
        scalars, line = super().get_log_after_iter(runner, batch_idx, mode)
        batch = getattr(runner.train_dataloader, 'batch_size', None) if mode == 'train' else None
        if batch and scalars.get('time'):
            speed = batch * runner.world_size / scalars['time']
            scalars['images_per_second'] = speed
            line = line.replace('  time: ', f'  images/s: {speed:.4g}  time: ', 1)
        return scalars, line
