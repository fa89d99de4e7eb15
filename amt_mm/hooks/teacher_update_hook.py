"""TeacherUpdateHook: the teacher is a moving average of the student."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from amt_mm.errors import InputError
from amt_mm.models import IBOT
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class TeacherUpdateHook(Hook):
    """Update the teacher as an exponential moving average of the student after each step.

    The momentum rises to 1 along a cosine over the iterations of training (DINO, sec. 3.1; iBOT).
    It depends only on the iteration, so a resumed run continues the same schedule.

    Args:
        momentum: Initial momentum. Defaults to .996, as in iBOT and AttMask; AttMask's runs on a
            fifth of ImageNet use .99.

    Raises:
        InputError: ``momentum`` is outside [0, 1], or the model has no teacher.
    """

    def __init__(self, momentum: float = 0.996) -> None:
        if not 0 <= momentum <= 1:
            raise InputError(f'TeacherUpdateHook.momentum={momentum} must be between 0 and 1')
        self.momentum = momentum

    def before_train(self, runner: Runner) -> None:
        """Check that there is a teacher."""
        if not hasattr(unwrapped(runner), 'teacher'):
            raise InputError(f'TeacherUpdateHook needs a model with a teacher, such as '
                             f'amt_mm.IBOT, not {type(unwrapped(runner)).__name__}')

    def after_train_iter(self, runner: Runner, batch_idx: int, data_batch: dict | None = None,
                         outputs: dict | None = None) -> None:
        """Update, unless gradients are still being accumulated."""
        if not runner.optim_wrapper.should_update():
            return
        progress = runner.iter / runner.max_iters
        momentum = 1 - (1 - self.momentum) * (math.cos(math.pi * progress) + 1) / 2
        update_teacher(unwrapped(runner), momentum)


def check_teacher(model: nn.Module, hooks: Iterable[Hook]) -> None:
    """Raise InputError if a model has a teacher that none of the hooks updates."""
    if isinstance(model, IBOT) and not any(isinstance(hook, TeacherUpdateHook) for hook in hooks):
        raise InputError(f'no hook updates the teacher of {type(model).__name__}, which would stay '
                         "random: set default_hooks.teacher=dict(type='amt_mm.TeacherUpdateHook')")


@torch.no_grad()
def update_teacher(model: nn.Module, momentum: float) -> None:
    """Move each part of ``model.teacher`` towards the model's part of the same name."""
    for name, part in model.teacher.items():
        torch._foreach_lerp_(list(part.parameters()),
                             list(getattr(model, name).parameters()), 1 - momentum)
