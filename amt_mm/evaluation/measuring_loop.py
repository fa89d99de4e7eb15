"""Base class of the test loops that measure by themselves, without metrics of MMEngine."""

from __future__ import annotations

from abc import abstractmethod

import torch
from mmengine.runner import BaseLoop, Runner
from torch.utils.data import DataLoader

from amt_mm.errors import InputError


class MeasuringTestLoop(BaseLoop):
    """Report what :meth:`measures` returns, as ``<prefix>/<name>``.

    Args:
        runner: The runner.
        dataloader: The config's ``test_dataloader``.
        evaluator: The config's ``test_evaluator``. MMEngine requires one with every test loop; it
            must be an empty list.

    Raises:
        InputError: A metric in ``evaluator``.
    """

    prefix: str

    def __init__(self, runner: Runner, dataloader: DataLoader | dict, evaluator: list) -> None:
        if evaluator != []:
            raise InputError(f'{type(self).__name__} measures by itself: set test_evaluator=[]')
        super().__init__(runner, dataloader)

    @abstractmethod
    def measures(self) -> dict[str, float]:
        """Return measures by name, the same in all processes."""

    def run(self) -> dict[str, float]:
        """Return the measures as ``<prefix>/<name>``."""
        self.runner.call_hook('before_test')
        self.runner.call_hook('before_test_epoch')
        metrics = {f'{self.prefix}/{name}': value for name, value in self.measures().items()}
        self.runner.call_hook('after_test_epoch', metrics=metrics)
        self.runner.call_hook('after_test')
        return metrics

    @property
    def device(self) -> torch.device:
        """Device of the model."""
        return next(self.runner.model.parameters()).device
