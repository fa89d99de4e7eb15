"""DetectorClassesHook: the classes of heads, training and test must agree."""

from __future__ import annotations

import logging
from itertools import zip_longest

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch.utils.data import Dataset

from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class DetectorClassesHook(Hook):
    """Refuse to run when the classes of heads, training and test set disagree.

    Too few classes in a head end in an index error deep inside a loss; too many, or the same
    classes in another order, give wrong results silently. The evaluated classes are compared
    with those of the training set, before training starts, or else with those that MMEngine
    stores in checkpoints.

    Raises:
        InputError: Names both counts and the options that set the heads', or the first class
            that differs between training and validation or test.
    """

    def __init__(self) -> None:
        self._source = ''
        self._trained: tuple[str, ...] | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the classes that a loaded model was trained on."""
        meta = checkpoint.get('meta', {}).get('dataset_meta') or {}
        self._source, self._trained = 'the checkpoint', meta.get('classes')

    def before_train(self, runner: Runner) -> None:
        """Compare the training set with the heads and with the validation set."""
        dataset = runner.train_dataloader.dataset
        _check(runner, dataset, 'train')
        self._source, self._trained = 'train_dataloader.dataset', dataset.metainfo['classes']
        # Now, because the first validation may be a day away.
        if runner.val_loop is not None:
            self._compare(runner, runner.val_dataloader.dataset, 'val')

    def before_val(self, runner: Runner) -> None:
        """Compare the validation set with the heads and the training classes."""
        self._compare(runner, runner.val_dataloader.dataset, 'val')

    def before_test(self, runner: Runner) -> None:
        """Compare the test set with the heads and the training classes."""
        self._compare(runner, runner.test_dataloader.dataset, 'test')

    def _compare(self, runner: Runner, dataset: Dataset, part: str) -> None:
        _check(runner, dataset, part)
        if self._trained is None:
            print_log(f'no checkpoint lists the training classes: assuming those of {part}_'
                      'dataloader.dataset in the same order', 'current', logging.WARNING)
            return
        pairs = zip_longest(self._trained, dataset.metainfo['classes'], fillvalue='missing')
        for number, (trained, here) in enumerate(pairs):
            if trained != here:
                raise InputError(f'class {number} is {trained} in {self._source}, but {here} in '
                                 f'{part}_dataloader.dataset: both annotation files must list '
                                 'the same `categories` in the same order')


def _check(runner: Runner, dataset: Dataset, part: str) -> None:
    count = len(dataset.metainfo['classes'])
    class_counts = {f'model.roi_head.{name}': module.num_classes
                    for name, module in unwrapped(runner).roi_head.named_modules()
                    if hasattr(module, 'num_classes')}
    wrong = [name for name, number in class_counts.items() if number != count]
    if wrong:
        raise InputError(f'{part}_dataloader.dataset has {count} classes, but {wrong[0]} has '
                         f'{class_counts[wrong[0]]}: set '
                         + ' '.join(f'{name}.num_classes={count}' for name in class_counts))
