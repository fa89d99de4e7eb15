"""CheckpointKeysHook: no checkpoint that loads nothing."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.checkpoints.load_backbone import check_filled
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class CheckpointKeysHook(Hook):
    """Stop when ``load_from`` or ``resume`` names a checkpoint that does not fit.

    MMEngine loads what matches and logs the rest; a checkpoint of which nothing
    matches "loads" as well, and training goes on from random weights. The encoder
    decides, for that is what goes from one task to the next; a model without
    ``backbone`` is compared whole. The tools add this hook to every run.

    Args:
        whole: Compare the whole model, head and all: for testing, where a head of
            random weights would be scored. Defaults to False.

    Raises:
        InputError: Less than 95 % would be filled.
    """

    # Before hooks that take state of their own from the checkpoint.
    priority = 'VERY_HIGH'

    def __init__(self, whole: bool = False) -> None:
        self.whole = whole

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare names and shapes before anything is copied."""
        model = unwrapped(runner)
        own = model.state_dict()
        encoder = not self.whole and any(key.startswith('backbone.') for key in own)
        prefix = 'backbone.' if encoder else ''
        fits = check_filled(runner._load_from or runner.work_dir, own,
                            checkpoint.get('state_dict', checkpoint), prefix)
        missing = [key for key in own if key.startswith(prefix) and key not in fits]
        runner.logger.info(f'Checkpoint fills {len(fits)} of {len(fits) + len(missing)} entries of '
                           f'the {prefix.rstrip(".") or "model"}'
                           + (f', not {", ".join(missing)}' if missing else ''))
