"""RankResultHook: one result file per process."""

from __future__ import annotations

from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import Runner

from amt_mm.registry import HOOKS


@HOOKS.register_module()
class RankResultHook(Hook):
    """Write the metrics of a test to a separate file per process.

    In MMEngine all processes write the same file at once, which can corrupt it. The first process
    keeps its path; the others write to ``rank_<n>/`` next to it. The tools add this hook to every
    run.
    """

    def before_test_epoch(self, runner: Runner) -> None:
        """Change the path of all processes but the first."""
        for hook in runner.hooks:
            if runner.rank and isinstance(hook, LoggerHook):
                hook.json_log_path = f'rank_{runner.rank}/{runner.timestamp}.json'
