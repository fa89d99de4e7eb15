"""EpochSeedHook: fresh random streams each epoch, the same after a resume."""

from __future__ import annotations

import random
from functools import partial

import numpy as np
import torch
from mmengine.dataset import worker_init_fn
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from amt_mm.registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seed Python, numpy, torch and the loading workers from (seed, epoch, rank).

    In an iteration-based loop, which has no epochs to begin, the iteration takes
    the epoch's place.

    MMEngine saves no random state, so a resumed run would draw other crops and
    masks than an unbroken one; and it seeds workers alike at every start, so that
    without persistent workers each epoch repeats the same crops. Both end here.
    Every rank gets streams of its own.

    Workers that outlive the step cannot be seeded anew from outside: persistent
    ones, and any in an iteration-based loop. With them a resumed run draws other
    crops than an unbroken one, which the hook says once.
    """

    # Before every hook that might draw.
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Say what cannot be promised."""
        loader = runner.train_dataloader
        if loader.persistent_workers or (loader.num_workers and _by_iteration(runner)):
            runner.logger.warning(
                'the loading workers keep one random stream over epochs (persistent workers, or '
                'an iteration-based loop), so a resumed run is not bit-equal to an unbroken one')

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed this epoch's streams."""
        workers = _seed(runner, runner.iter if _by_iteration(runner) else runner.epoch)
        loader = runner.train_dataloader
        if loader.num_workers and not loader.persistent_workers:
            # Rank 0 of 1: the rank is in the seed already. Room for the worker's own number.
            loader.worker_init_fn = partial(
                worker_init_fn, num_workers=loader.num_workers, rank=0, seed=int(workers >> 1))

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None
                          ) -> None:
        """Seed the step of an iteration-based loop."""
        if _by_iteration(runner):
            _seed(runner, runner.iter)

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Seed the loading of the next batch, which comes before its own iteration begins."""
        if _by_iteration(runner):
            _seed(runner, runner.iter + 1)


def _by_iteration(runner: Runner) -> bool:
    return isinstance(runner.train_loop, IterBasedTrainLoop)


def _seed(runner: Runner, step: int) -> int:
    """Seed the streams of this process; return a seed for its workers."""
    main, workers = np.random.SeedSequence(
        [runner.seed, step, get_rank()]).generate_state(2)
    random.seed(int(main))
    np.random.seed(main)
    torch.manual_seed(int(main))
    return workers
