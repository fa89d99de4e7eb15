"""GuidanceHook: masks that shall be guided are given maps."""

from __future__ import annotations

from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.errors import InputError
from amt_mm.models import AMTDataPreprocessor
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS

from .saliency_update_hook import SaliencyUpdateHook
from .token_loss_hook import TokenLossHook


@HOOKS.register_module()
class GuidanceHook(Hook):
    """Stop a run whose masks wait for maps that nobody makes.

    A mask generator without maps masks by chance, as in the warm-up: such a run would go
    through to its end as random masking, under the name of another method. Runs by
    config have this hook. One of one's own that brings maps takes its place:
    ``default_hooks.guidance=None``.

    Raises:
        InputError: The generator uses weights, and no hook makes any.
    """

    def before_train(self, runner: Runner) -> None:
        """Compare generator and hooks."""
        preprocessor = getattr(unwrapped(runner), 'data_preprocessor', None)
        if not isinstance(preprocessor, AMTDataPreprocessor) or preprocessor.store is not None:
            return
        generator = preprocessor.mask_generator
        makers = (SaliencyUpdateHook, TokenLossHook)
        if generator.needs_weights and not any(isinstance(hook, makers) for hook in runner.hooks):
            raise InputError(
                f'{type(generator).__name__} waits for maps, and no hook makes any: all masks '
                "would be random. Add dict(type='amt_mm.SaliencyUpdateHook') to custom_hooks (the "
                "overlay _base_/amt/mae-amt.py has it), or set mask_generator.type="
                "'amt_mm.RandomMaskGenerator'; with a hook of your own that brings maps, set "
                'default_hooks.guidance=None')
