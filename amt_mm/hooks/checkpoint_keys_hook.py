"""CheckpointKeysHook: refuse a checkpoint that does not fit the model."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.checkpoints.check_filled import check_filled
from amt_mm.config_parts import section
from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class CheckpointKeysHook(Hook):
    """Stop when ``load_from`` or ``resume`` names a checkpoint that does not fit.

    MMEngine loads what matches and logs the rest, so training would silently start from random
    weights if nothing matches. Only the encoder is compared, which is what one task passes to the
    next; a model without ``backbone`` is compared whole. A model with a teacher needs one in the
    checkpoint. The tools add this hook to every run.

    Args:
        whole: Compare the whole model, for tests, where a random head would be scored. Defaults to
            False.

    Raises:
        InputError: The checkpoint would fill less than 95 %, or has no teacher for the model's.
    """

    # Before hooks that load their own state from the checkpoint.
    priority = 'VERY_HIGH'

    def __init__(self, whole: bool = False) -> None:
        self.whole = whole

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare names and shapes before MMEngine copies the weights."""
        model = unwrapped(runner)
        own = model.state_dict()
        encoder = not self.whole and any(key.startswith('backbone.') for key in own)
        prefix = 'backbone.' if encoder else ''
        path = runner._load_from or runner.work_dir
        state = section(checkpoint.get('state_dict', checkpoint))
        fits = check_filled(path, own, state, prefix)
        if hasattr(model, 'copy_to_teacher') and not any(
                key.removeprefix('module.').startswith('teacher.') for key in state):
            raise InputError(
                f'{path}: it has no teacher, and a random one would undo the encoder: replace '
                'load_from by default_hooks.pretrained.checkpoint (--pretrained FILE), which fills '
                'both (amt_mm.PretrainedBackboneHook)')
        missing = [key for key in own if key.startswith(prefix) and key not in fits]
        runner.logger.info(f'Checkpoint fills {len(fits)} of {len(fits) + len(missing)} entries of '
                           f'the {prefix.rstrip(".") or "model"}'
                           + (f', not {", ".join(missing)}' if missing else ''))
