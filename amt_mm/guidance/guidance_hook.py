"""GuidanceHook: refuse guided masking without maps."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.errors import InputError
from amt_mm.models import AMTDataPreprocessor
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS

from .map_hook import MapHook
from .mask_progress_hook import MaskProgressHook


@HOOKS.register_module()
class GuidanceHook(Hook):
    """Stop a run whose mask generator needs maps that no hook makes.

    Without maps it masks at random, as in the warm-up, so the run would silently be another
    method. Without its progress an annealed one fails, but only at the first guided step. Every run
    from a config has this hook.

    Raises:
        InputError: The generator uses weights, and no hook makes maps; or it uses progress, and no
            hook sets it.
    """

    def before_train(self, runner: Runner) -> None:
        """Compare generator and hooks."""
        preprocessor = getattr(unwrapped(runner), 'data_preprocessor', None)
        if not isinstance(preprocessor, AMTDataPreprocessor):
            return
        generator = preprocessor.mask_generator
        if getattr(generator, 'progress', 0) is None and not any(
                isinstance(hook, MaskProgressHook) for hook in runner.hooks):
            raise InputError(f'{type(generator).__name__} needs the progress of training, and no '
                             "hook sets it: add dict(type='amt_mm.MaskProgressHook') to "
                             'custom_hooks')
        if preprocessor.store is not None:
            return
        if generator.needs_weights and not any(isinstance(hook, MapHook) for hook in runner.hooks):
            raise InputError(
                f'{type(generator).__name__} needs maps, and no hook makes any: all masks '
                "would be random. Add dict(type='amt_mm.SaliencyUpdateHook') to custom_hooks (the "
                "overlay _base_/amt/mae-amt.py has it), or set mask_generator.type="
                "'amt_mm.RandomMaskGenerator'; derive a hook of your own that makes maps from "
                'amt_mm.guidance.MapHook')
