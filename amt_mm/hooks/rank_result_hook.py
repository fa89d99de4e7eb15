"""RankResultHook: the metrics of a test in one whole file."""

from __future__ import annotations

from mmengine.hooks import Hook, LoggerHook
from mmengine.runner import Runner

from amt_mm.registry import HOOKS


@HOOKS.register_module()
class RankResultHook(Hook):
    """Let each process write the metrics of a test to a file of its own.

    MMEngine has all of them write the same file at once, which may leave a mixture
    that is no JSON. That of the first process stays where it was; the others' go to
    ``rank_<n>/`` beside it. The tools add this hook to every run.
    """

    def before_test_epoch(self, runner: Runner) -> None:
        """Give processes behind the first another path."""
        if runner.rank == 0:
            return
        for hook in runner.hooks:
            if isinstance(hook, LoggerHook):
                hook.json_log_path = f'rank_{runner.rank}/{runner.timestamp}.json'
