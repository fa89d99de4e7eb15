"""EpochSeedHook: fresh random streams each epoch, the same after a resume."""

from __future__ import annotations

import random
from functools import partial

import numpy as np
import torch
from mmengine.dataset import worker_init_fn
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.registry import HOOKS


@HOOKS.register_module()
class EpochSeedHook(Hook):
    """Seed Python, numpy, torch and the loading workers from (seed, epoch, rank).

    MMEngine saves no random state, so a resumed run would draw other crops and
    masks than an unbroken one; and it seeds workers alike at every start, so that
    without persistent workers each epoch repeats the same crops. Both end here.
    Every rank gets streams of its own.

    Persistent workers cannot be seeded anew from outside: with them a resumed run
    draws other crops than an unbroken one, which the hook says once.
    """

    # Before every hook that might draw.
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Say what cannot be promised."""
        if runner.train_dataloader.persistent_workers:
            runner.logger.warning(
                'train_dataloader.persistent_workers=True: workers keep their random stream over '
                'epochs, so a resumed run is not bit-equal to an unbroken one')

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed this epoch's streams."""
        main, workers = np.random.SeedSequence(
            [runner.seed, runner.epoch, get_rank()]).generate_state(2)
        random.seed(int(main))
        np.random.seed(main)
        torch.manual_seed(int(main))
        loader = runner.train_dataloader
        if loader.num_workers and not loader.persistent_workers:
            # Rank 0 of 1: the rank is in the seed already. Room for the worker's own number.
            loader.worker_init_fn = partial(
                worker_init_fn, num_workers=loader.num_workers, rank=0, seed=int(workers >> 1))
