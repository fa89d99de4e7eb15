"""What a run puts around the user's training set and its loader."""

from __future__ import annotations

from collections.abc import Mapping

from mmengine.runner import Runner
from torch.utils.data import DataLoader

from amt_mm.reliability import BadImagesHook
from amt_mm.reliability.worker_failure import TIMEOUT


def replacing_loader(runner: Runner, loader: DataLoader | Mapping) -> DataLoader | dict:
    """A training loader's config with bad images replaced, and an end to waiting for a worker.

    The replacing data set is the outermost one: what it asks of those inside, such as one
    that seeds samples by their keys, is then the same whether or not an image was known to
    be bad.

    Args:
        runner: Whose :class:`amt_mm.BadImagesHook`, if there is one, says how.
        loader: The user's; one that is built already stays as it is.
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
