"""ClassCountHook: head, training and validation images must have the same classes."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.utils.data import Dataset

from amt_mm.datasets.train_and_test import check_train_and_test
from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class ClassCountHook(Hook):
    """Stop if the classes of a data set differ from those of the head.

    Too small a head fails with an obscure index error in the loss (on a GPU, an assertion); too
    large a one, or validation images of other classes, would pass silently. Models without a head
    and data sets that do not name their classes are not checked.

    Raises:
        InputError: Names both numbers and the option that sets the head's, or the classes that
            training and validation images do not share.
    """

    def before_train(self, runner: Runner) -> None:
        """Compare the head with the training images."""
        _check(runner, runner.train_dataloader.dataset, 'train')
        if runner.val_loop is not None:
            check_train_and_test(runner.train_dataloader.dataset, runner.val_dataloader.dataset,
                                 'val_dataloader')

    def before_val(self, runner: Runner) -> None:
        """Compare the head with the validation images."""
        _check(runner, runner.val_dataloader.dataset, 'val')

    def before_test(self, runner: Runner) -> None:
        """Compare the head with the test images."""
        _check(runner, runner.test_dataloader.dataset, 'test')


def _check(runner: Runner, dataset: Dataset, part: str) -> None:
    classes = getattr(dataset, 'metainfo', {}).get('classes')
    if classes is not None and len(classes) < 2:
        raise InputError(f'{part}_dataloader.dataset has only one class, {", ".join(classes)}: is '
                         'its folder one level too high?')
    known = getattr(getattr(unwrapped(runner), 'head', None), 'num_classes', None)
    if classes is not None and known is not None and len(classes) != known:
        raise InputError(f'{part}_dataloader.dataset has {len(classes)} classes, the head '
                         f'{known}: set overlay.labelled.num_classes={len(classes)} (or '
                         'model.head.num_classes in a config without it)')
