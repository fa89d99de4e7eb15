"""PredictionsHook: keep the answers of a trained classifier."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.dist import collect_results
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import DataLoader

from amt_mm.datasets.train_and_test import class_names
from amt_mm.evaluation.dataset_features import class_label
from amt_mm.evaluation.kept import keep_predictions
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class PredictionsHook(Hook):
    """Keep which class each image was taken for, after each validation and test.

    The report of ``amt evaluate`` tells the most confused classes by it. Images without a class,
    such as those of ImageNet-9, are left out.
    """

    def __init__(self) -> None:
        self._pairs: list[tuple[int, int]] = []

    def before_val_epoch(self, runner: Runner) -> None:
        """Begin a list."""
        self._pairs = []

    def after_val_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                       outputs: Sequence | None = None) -> None:
        """Note the answers to a batch."""
        self._pairs += [(int(sample.pred_score.argmax()), class_label(sample))
                        for sample in outputs if 'gt_label' in sample]

    # Called with the same arguments.
    before_test_epoch, after_test_iter = before_val_epoch, after_val_iter

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Write the answers of all processes."""
        self._keep(runner, runner.val_dataloader)

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Write the answers of all processes."""
        self._keep(runner, runner.test_dataloader)

    def _keep(self, runner: Runner, loader: DataLoader) -> None:
        # As for the accuracy: padding of the last batches does not count twice.
        pairs = collect_results(self._pairs, len(loader.dataset), 'cpu')
        if pairs:  # on the main process
            answers, labels = torch.tensor(pairs).T
            keep_predictions(runner, 'accuracy/top1', answers, labels,
                             class_names(loader.dataset))
