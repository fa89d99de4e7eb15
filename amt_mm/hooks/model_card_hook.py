"""ModelCardHook: a finished pre-training leaves its model card."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmpretrain.models import VisionTransformer
from mmpretrain.models.selfsup.base import BaseSelfSupervisor

from amt_mm.checkpoints.safe_save import write_text
from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS

from .model_card import CARD, model_card


@HOOKS.register_module()
class ModelCardHook(Hook):
    """Write ``model_card.md`` to the work folder when a vision transformer has been pre-trained.

    It is a card of Hugging Face: data, recipe, what probes measured in the end, and how to load the
    encoder. Other trainings get none. A run that finishes in the same folder later writes it anew.

    Args:
        license: Licence of the weights, an identifier of Hugging Face such as ``'apache-2.0'``.
            Defaults to ``'unknown'``, since only their owner can say.

    Raises:
        InputError: ``license`` is not a text.
    """

    # After the probes and the last checkpoint.
    priority = 'LOWEST'

    def __init__(self, license: str = 'unknown') -> None:
        if not isinstance(license, str) or not license:
            raise InputError(f'license={license!r} of ModelCardHook must be a text, such as '
                             "'apache-2.0'")
        self.license = license

    def after_train(self, runner: Runner) -> None:
        """Write the card, in one process."""
        model = unwrapped(runner)
        if (not is_main_process() or not isinstance(model, BaseSelfSupervisor)
                or not isinstance(model.backbone, VisionTransformer)):
            return
        path = Path(runner.work_dir, CARD)
        try:
            write_text(path, model_card(runner, self.license))
        except InputError as error:
            # The training is done and saved.
            runner.logger.warning(f'no model card: {error}')
        else:
            runner.logger.info(f'Model card: {path}')
