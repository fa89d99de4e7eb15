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
    unbroken one. Here no state needs to be saved, for none outlives a step. Every rank
    has streams of its own. Samples have theirs: see :class:`amt_mm.datasets.SeededSamples`,
    which :class:`amt_mm.OverlayRunner` puts around the training set.

    What is seeded so are the streams of the three libraries. A transform or module
    with a generator of its own, and kernels of a GPU that add in any order, are not
    repeated, and a resumed run then differs.
    """

    # Before every hook that might draw.
    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Say what cannot be promised."""
        if seeded_sampler(runner.train_dataloader) is None:
            runner.logger.warning(
                'samples are not seeded one by one, so a resumed run draws different crops from an '
                "uninterrupted one: set runner_type='amt_mm.OverlayRunner', and give "
                'train_dataloader as a config')

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed what is drawn before the epoch's first step."""
        seed_iteration(runner.seed, runner.iter, LOADING)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None
                          ) -> None:
        """Seed the step."""
        seed_iteration(runner.seed, runner.iter, STEP)
