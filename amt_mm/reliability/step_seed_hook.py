"""StepSeedHook: fresh random streams each step, the same after a resume."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.datasets.seeded_sampler import seeded_sampler
from amt_mm.random_streams import LOADING, STEP, seed_iteration
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class StepSeedHook(Hook):
    """Seed Python, numpy and torch from (seed, iteration, rank) before each step.

    MMEngine saves no random state, so a resumed run would draw other masks than an
    uninterrupted one. Here no state needs to be saved, since none outlives a step. Each rank has
    its own streams, and so has each sample: see :class:`amt_mm.datasets.SeededSamples`, in which
    :class:`amt_mm.OverlayRunner` wraps the training set.

    Only the streams of the three libraries are seeded. With a transform or module that has its
    own generator, or GPU kernels with nondeterministic summation, a resumed run differs.
    """

    # Before every hook that might draw.
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Warn if samples are not seeded."""
        if seeded_sampler(runner.train_dataloader) is None:
            runner.logger.warning(
                'samples are not seeded one by one, so a resumed run draws different crops from an '
                "uninterrupted one: set runner_type='amt_mm.OverlayRunner', and give "
                'train_dataloader as a config')

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the random numbers before the epoch's first step."""
        seed_iteration(runner.seed, runner.iter, LOADING)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None
                          ) -> None:
        """Seed the step."""
        seed_iteration(runner.seed, runner.iter, STEP)
