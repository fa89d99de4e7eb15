"""ClipEachHook: bound the gradient of each parameter by itself."""

from __future__ import annotations

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.errors import InputError
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class ClipEachHook(Hook):
    """Scale down each tensor of gradients that is longer than ``max_norm``.

    The usual clipping, ``optim_wrapper.clip_grad``, bounds the length of all gradients
    together. DINO, iBOT and AttMask train with this one. Gradients that still carry the
    scale of fp16's losses, as a fused optimiser gets them, are measured by that scale.

    Args:
        max_norm: Defaults to 3, theirs.

    Raises:
        InputError: A bound that is not positive.
    """

    def __init__(self, max_norm: float = 3.0) -> None:
        if max_norm <= 0:
            raise InputError(f'ClipEachHook.max_norm={max_norm} must be positive')
        self.max_norm = max_norm

    def before_train(self, runner: Runner) -> None:
        """Listen to the optimiser."""
        self._handle = runner.optim_wrapper.optimizer.register_step_pre_hook(
            lambda optimizer, *_: clip_each(optimizer, self.max_norm))

    def after_train(self, runner: Runner) -> None:
        """Stop listening."""
        self._handle.remove()


@torch.no_grad()
def clip_each(optimizer: torch.optim.Optimizer, max_norm: float) -> None:
    """Scale down each gradient of an optimiser that is longer than ``max_norm``, in place."""
    gradients = [parameter.grad for group in optimizer.param_groups
                 for parameter in group['params'] if parameter.grad is not None]
    if gradients:
        norms = torch.stack(torch._foreach_norm(gradients))
        # Which a fused optimiser takes off by itself, in its step.
        loss_scale = getattr(optimizer, 'grad_scale', None)
        if loss_scale is not None:
            norms = norms / loss_scale.to(norms.device)
        # As torch's own clipping guards its division.
        scales = (max_norm / (norms + 1e-6)).clamp_max(1)
        torch._foreach_mul_(gradients, list(scales.unbind()))
