"""BadImagesHook: train on although some images cannot be read, and say which."""

from __future__ import annotations

from mmengine.dist import get_rank, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.datasets import BadImages, ReplaceBadImages
from amt_mm.errors import InputError
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class BadImagesHook(Hook):
    """Replace training images that cannot be read by others, list them, stop past a limit.

    An image counts as bad when it is missing, empty, truncated, no image, or far too large;
    not when another transform than loading fails. Another sample, with its own label, takes
    its place. Each bad image is entered once in ``<work_dir>/bad_images_rank*.txt`` (index,
    name, reason), which a resumed run goes on with: see :class:`amt_mm.datasets.BadImages`.
    A refresh of saliency gives it a map without preference.

    Sets that are measured on (``val_dataloader``, ``test_dataloader``, k-NN's bank) are not
    touched: a bad image there stops the run, for a measure on other images is another one.
    ``default_hooks.bad_images=None`` does so in training too.

    Args:
        max_bad: Share of the training images past which the run stops. Defaults to .01:
            one in a hundred does not shift what is learnt, more is a fault of the disk or
            the copy. 0 stops at the first one, after entering it.
        interval: Iterations between two looks at the list, besides each epoch's end.

    Raises:
        InputError: ``max_bad`` is not a share; while training, too many images are bad.
    """

    priority = 'NORMAL'

    def __init__(self, max_bad: float = 0.01, interval: int = 1000) -> None:
        if not 0 <= max_bad <= 1:
            raise InputError(f'max_bad={max_bad}: give a share of the training images, from 0 to 1')
        self.max_bad = max_bad
        self.interval = interval
        self._said = 0

    def around(self, runner: Runner, dataset: object, workers: int) -> dict:
        """Config of the training set with bad images replaced.

        Args:
            runner: Of the run.
            dataset: The training set, or its config.
            workers: Loading processes.
        """
        return dict(type=ReplaceBadImages, dataset=dataset, folder=runner.work_dir,
                    max_bad=self.max_bad, rank=get_rank(), workers=workers)

    def before_train(self, runner: Runner) -> None:
        """Refuse at the start what is too much already."""
        bad = _bad_images(runner)
        if bad is not None:
            bad.read_new()
            bad.check()
            self._say(runner, bad)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Say what is new, now and then."""
        if self.every_n_train_iters(runner, self.interval):
            self._look(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Say what is new."""
        self._look(runner)

    def _look(self, runner: Runner) -> None:
        bad = _bad_images(runner)
        if bad is not None and is_main_process():
            bad.read_new()
            self._say(runner, bad)

    def _say(self, runner: Runner, bad: BadImages) -> None:
        if len(bad) > self._said:
            runner.logger.warning(
                f'{len(bad)} of {bad.samples} images could not be read so far and were replaced by '
                f'others (the limit is {int(bad.max_bad * bad.samples)}): see '
                f'{bad.folder}/bad_images_rank*.txt')
            self._said = len(bad)
        runner.visualizer.add_scalars({'data/bad_images': len(bad)}, step=runner.iter)


def _bad_images(runner: Runner) -> BadImages | None:
    dataset = runner.train_dataloader.dataset
    return dataset.bad if isinstance(dataset, ReplaceBadImages) else None
