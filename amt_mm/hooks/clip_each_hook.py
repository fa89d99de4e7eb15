"""ClipEachHook: clip the gradient of each parameter separately."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.errors import InputError
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class ClipEachHook(Hook):
    """Clip each gradient tensor to ``max_norm``, as DINO, iBOT and AttMask do.

    ``optim_wrapper.clip_grad`` clips the norm of all gradients together instead.

    Args:
        max_norm: Defaults to 3, theirs.

    Raises:
        InputError: ``max_norm`` is not positive.
    """

    def __init__(self, max_norm: float = 3.0) -> None:
        if max_norm <= 0:
            raise InputError(f'ClipEachHook.max_norm={max_norm} must be positive')
        self.max_norm = max_norm

    def before_train(self, runner: Runner) -> None:
        """Register a hook on the optimiser."""
        self._handle = runner.optim_wrapper.optimizer.register_step_pre_hook(
            lambda optimizer, *_: clip_each(optimizer, self.max_norm))

    def after_train(self, runner: Runner) -> None:
        """Remove it."""
        self._handle.remove()


@torch.no_grad()
def clip_each(optimizer: torch.optim.Optimizer, max_norm: float) -> None:
    """Clip each gradient of an optimiser to ``max_norm``, in place."""
    gradients = [parameter.grad for group in optimizer.param_groups
                 for parameter in group['params'] if parameter.grad is not None]
    if gradients:
        norms = torch.stack(torch._foreach_norm(gradients))
        # A fused optimiser divides by the loss scale of fp16 only in its step.
        loss_scale = getattr(optimizer, 'grad_scale', None)
        if loss_scale is not None:
            norms = norms / loss_scale.to(norms.device)
        # The same epsilon as in torch's clipping.
        scales = (max_norm / (norms + 1e-6)).clamp_max(1)
        torch._foreach_mul_(gradients, list(scales.unbind()))
