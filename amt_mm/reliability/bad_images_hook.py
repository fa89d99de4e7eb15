"""BadImagesHook: continue training despite unreadable images, and list them."""

from __future__ import annotations

from mmengine.dist import get_rank, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.datasets import BadImages, ReplaceBadImages
from amt_mm.datasets.replace_bad_images import bad_image_wrapper
from amt_mm.errors import InputError
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class BadImagesHook(Hook):
    """Replace unreadable training images by others, list them, and stop above a limit.

    An image is unreadable if it is missing, empty, truncated, not an image or far too large;
    a failure of another transform than loading does not count. Another sample, with its own
    label, replaces it. Each one is recorded once in ``<work_dir>/bad_images_rank*.txt`` (index,
    name, reason), which a resumed run continues: see :class:`amt_mm.datasets.BadImages`. A
    refresh of saliency gives it a map without preference.

    Data sets for evaluation (``val_dataloader``, ``test_dataloader``, the training images of
    k-NN) are unaffected: an unreadable image there stops the run, because a measure on other
    images is not comparable. With ``default_hooks.bad_images=None``, training stops, too.

    Args:
        max_bad: Fraction of unreadable training images above which the run stops. Defaults to
            .01: one in a hundred does not change what is learnt, more means a fault of the disk
            or of the copy. 0 stops at the first one, after recording it.
        interval: Iterations between two reads of the list, besides those after each epoch.

    Raises:
        InputError: ``max_bad`` is not a fraction; in training, too many images are unreadable.
    """

    priority = 'NORMAL'

    def __init__(self, max_bad: float = 0.01, interval: int = 1000) -> None:
        if not 0 <= max_bad <= 1:
            raise InputError(f'max_bad={max_bad}: give a fraction of the training images, from 0 '
                             'to 1')
        self.max_bad = max_bad
        self.interval = interval
        self._said = 0

    def around(self, runner: Runner, dataset: object, workers: int) -> dict:
        """Config of the training set with unreadable images replaced.

        Args:
            runner: Of the run.
            dataset: The training set, or its config.
            workers: Loading processes.
        """
        return dict(type=ReplaceBadImages, dataset=dataset, folder=runner.work_dir,
                    max_bad=self.max_bad, rank=get_rank(), workers=workers)

    def before_train(self, runner: Runner) -> None:
        """Stop if the list of an earlier run exceeds the limit already."""
        bad = _bad_images(runner)
        if bad is not None:
            bad.read_new()
            bad.check()
            self._say(runner, bad)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Report new entries every ``interval`` iterations."""
        if self.every_n_train_iters(runner, self.interval):
            self._look(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Report new entries."""
        self._look(runner)

    def _look(self, runner: Runner) -> None:
        bad = _bad_images(runner)
        if bad is not None and is_main_process():
            bad.read_new()
            self._say(runner, bad)

    def _say(self, runner: Runner, bad: BadImages) -> None:
        if len(bad) > self._said:
            runner.logger.warning(
                f'{len(bad)} of {bad.samples} images are unreadable so far and were replaced by '
                f'others (the limit is {int(bad.max_bad * bad.samples)}): see '
                f'{bad.folder}/bad_images_rank*.txt')
            self._said = len(bad)
        runner.visualizer.add_scalars({'data/bad_images': len(bad)}, step=runner.iter)


def _bad_images(runner: Runner) -> BadImages | None:
    wrapper = bad_image_wrapper(runner.train_dataloader.dataset)
    return None if wrapper is None else wrapper.bad
