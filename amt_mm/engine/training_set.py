"""Prepare the loader of the user's training set."""

from __future__ import annotations

from collections.abc import Mapping

from mmengine.runner import Runner
from torch.utils.data import DataLoader

from amt_mm.reliability import BadImagesHook
from amt_mm.reliability.worker_failure import TIMEOUT


def replacing_loader(runner: Runner, loader: DataLoader | Mapping) -> DataLoader | dict:
    """Return a training loader's config that replaces unreadable images and has a timeout.

    The replacing data set is the outermost wrapper, so that its requests to the inner ones, such
    as one that seeds samples by their keys, do not depend on which images are known to be
    unreadable.

    Args:
        runner: Its :class:`amt_mm.BadImagesHook`, if there is one, replaces the images.
        loader: The user's; a loader that is built already is returned unchanged.
    """
    if isinstance(loader, DataLoader):
        return loader
    loader, workers = dict(loader), loader.get('num_workers', 0)
    if workers:
        loader.setdefault('timeout', TIMEOUT)
    for hook in runner.hooks:
        if isinstance(hook, BadImagesHook):
            loader['dataset'] = hook.around(runner, loader['dataset'], workers)
    return loader
