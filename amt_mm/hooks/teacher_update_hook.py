"""TeacherUpdateHook: the teacher follows the student."""

from __future__ import annotations

import math

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class TeacherUpdateHook(Hook):
    """Move the teacher towards the student after each step of the optimiser.

    The share m of the old teacher rises from ``momentum`` to 1 along a cosine over
    the iterations of training (DINO, sec. 3.1; iBOT). It follows from the iteration
    alone, so a resumed run has that of an unbroken one.

    Args:
        momentum: Share of the old teacher at the start. Defaults to .996, iBOT's and
            AttMask's; .99 in AttMask's runs on a fifth of ImageNet.

    Raises:
        InputError: A momentum outside [0, 1]; at the start, a model without a teacher.
    """

    def __init__(self, momentum: float = 0.996) -> None:
        if not 0 <= momentum <= 1:
            raise InputError(f'TeacherUpdateHook.momentum={momentum} must lie between 0 and 1')
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
        share = 1 - (1 - self.momentum) * (math.cos(math.pi * progress) + 1) / 2
        follow(unwrapped(runner), share)


@torch.no_grad()
def follow(model: nn.Module, share: float) -> None:
    """Move ``model.teacher`` towards the parts of the model that it has copies of.

    Args:
        model: Such as :class:`~amt_mm.models.IBOT`.
        share: What stays of the old teacher.
    """
    for name, part in model.teacher.items():
        # lerp_: teacher + (1 - m) (student - teacher)
        torch._foreach_lerp_(list(part.parameters()),
                             list(getattr(model, name).parameters()), 1 - share)
