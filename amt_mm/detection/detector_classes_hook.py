"""DetectorClassesHook: heads, training and test agree on the classes."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import Dataset

from amt_mm.errors import InputError
from amt_mm.hooks.unwrapped import unwrapped
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class DetectorClassesHook(Hook):
    """Stop when a detector's heads are made for other classes than the data set has.

    A head with too few classes ends in an index error deep inside a loss; one with too
    many is learnt, and evaluated, without a word. Two annotation files that list the
    same classes in another order would be measured wrongly, without a word, too.

    Raises:
        InputError: With both numbers and the options that set the heads', or with the
            first class that differs between training and validation.
    """

    def before_train(self, runner: Runner) -> None:
        """Compare the heads with the training images."""
        _check(runner, runner.train_dataloader.dataset, 'train')

    def before_val(self, runner: Runner) -> None:
        """Compare the heads with the validation images, and these with the training images."""
        dataset = runner.val_dataloader.dataset
        _check(runner, dataset, 'val')
        learnt = runner.train_dataloader.dataset.metainfo['classes']
        names = dataset.metainfo['classes']
        for number, (trained, here) in enumerate(zip(learnt, names, strict=True)):
            if trained != here:
                raise InputError(f'class {number} is {trained} in train_dataloader.dataset, but '
                                 f'{here} in val_dataloader.dataset: both annotation files must '
                                 'list the same `categories` in the same order')

    def before_test(self, runner: Runner) -> None:
        """Compare the heads with the test images."""
        _check(runner, runner.test_dataloader.dataset, 'test')


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
