"""SpeedLogProcessor: MMEngine's log lines of training, with images a second."""

from __future__ import annotations

from mmengine.registry import LOG_PROCESSORS
from mmengine.runner import LogProcessor, Runner


@LOG_PROCESSORS.register_module()
class SpeedLogProcessor(LogProcessor):
    """Add images a second, of all processes, to lines and scalars of training.

    It is the batch over the ``time`` of the same line, a mean over ``window_size`` steps. A data
    loader that does not say its batch size has none.
    """

    def get_log_after_iter(self, runner: Runner, batch_idx: int, mode: str) -> tuple[dict, str]:
        """Scalars and line of a step."""
        scalars, line = super().get_log_after_iter(runner, batch_idx, mode)
        batch = getattr(runner.train_dataloader, 'batch_size', None) if mode == 'train' else None
        if batch and scalars.get('time'):
            speed = batch * runner.world_size / scalars['time']
            scalars['images_per_second'] = speed
            line = line.replace('  time: ', f'  images/s: {speed:.4g}  time: ', 1)
        return scalars, line
