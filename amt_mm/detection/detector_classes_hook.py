"""DetectorClassesHook: heads, training and test agree on the classes."""

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
    """Stop when a detector's heads are made for other classes than the data set has.

    A head with too few classes ends in an index error deep inside a loss; one with too
    many is learnt, and evaluated, without a word. Two annotation files that list the
    same classes in another order would be measured wrongly, without a word, too: what is
    measured is compared with what was trained on, before training where both are known,
    and else with the classes that MMEngine keeps in a checkpoint.

    Raises:
        InputError: With both numbers and the options that set the heads', or with the
            first class that differs between training and validation or test.
    """

    def __init__(self) -> None:
        self._source = ''
        self._learnt: tuple[str, ...] | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Keep the classes on which a loaded model was trained."""
        meta = checkpoint.get('meta', {}).get('dataset_meta') or {}
        self._source, self._learnt = 'the checkpoint', meta.get('classes')

    def before_train(self, runner: Runner) -> None:
        """Compare the heads with the training images, and these with the validation images."""
        dataset = runner.train_dataloader.dataset
        _check(runner, dataset, 'train')
        self._source, self._learnt = 'train_dataloader.dataset', dataset.metainfo['classes']
        # Now, as the first validation may be a day away.
        if runner.val_loop is not None:
            self._compare(runner, runner.val_dataloader.dataset, 'val')

    def before_val(self, runner: Runner) -> None:
        """Compare the validation images with the heads and with what was trained on."""
        self._compare(runner, runner.val_dataloader.dataset, 'val')

    def before_test(self, runner: Runner) -> None:
        """Compare the test images with the heads and with what was trained on."""
        self._compare(runner, runner.test_dataloader.dataset, 'test')

    def _compare(self, runner: Runner, dataset: Dataset, part: str) -> None:
        _check(runner, dataset, part)
        if self._learnt is None:
            print_log(f'no checkpoint names the classes that were learnt: those of {part}_'
                      'dataloader.dataset are taken to be the same in the same order', 'current',
                      logging.WARNING)
            return
        pairs = zip_longest(self._learnt, dataset.metainfo['classes'], fillvalue='missing')
        for number, (learnt, here) in enumerate(pairs):
            if learnt != here:
                raise InputError(f'class {number} is {learnt} in {self._source}, but {here} in '
                                 f'{part}_dataloader.dataset: both annotation files must list '
                                 'the same `categories` in the same order')


def _check(runner: Runner, dataset: Dataset, part: str) -> None:
    count = len(dataset.metainfo['classes'])
    made_for = {f'model.roi_head.{name}': module.num_classes
                for name, module in unwrapped(runner).roi_head.named_modules()
                if hasattr(module, 'num_classes')}
    wrong = [name for name, number in made_for.items() if number != count]
    if wrong:
        raise InputError(f'{part}_dataloader.dataset has {count} classes, {wrong[0]} is made for '
                         f'{made_for[wrong[0]]}: set '
                         + ' '.join(f'{name}.num_classes={count}' for name in made_for))
