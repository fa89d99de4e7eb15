"""ClassCountHook: the same classes in the head, the training and the validation images."""

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
    """Stop when the classes of a data set are not those that the head tells apart.

    Too few in the head end in an index error deep inside the loss, or on a GPU in an
    assertion that names nothing; too many are learnt without a word. So are
    validation images whose labels mean other classes. A model without a head and a data
    set that does not name its classes are left alone.

    Raises:
        InputError: With both numbers, and the option that sets the head's; or with the
            classes that training and validation images do not share.
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
        raise InputError(f'{part}_dataloader.dataset has one class, {", ".join(classes)}, and '
                         'nothing to tell apart: is its folder one level too high?')
    known = getattr(getattr(unwrapped(runner), 'head', None), 'num_classes', None)
    if classes is not None and known is not None and len(classes) != known:
        raise InputError(f'{part}_dataloader.dataset has {len(classes)} classes, the head is made '
                         f'for {known}: set overlay.labelled.num_classes={len(classes)} (or '
                         'model.head.num_classes in a config without it)')
