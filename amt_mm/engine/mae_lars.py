"""MAELARS: LARS with the learning rate outside the momentum."""

from __future__ import annotations

from collections.abc import Callable

import torch
from mmpretrain.engine.optimizers import LARS
from torch import Tensor

from amt_mm.registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class MAELARS(LARS):
    """mmpretrain's LARS with the momentum of MAE's linear probing, which AMT's code has too.

    mmpretrain sums past steps, each with the learning rate at that step: ``v = m v + lr g``, then
    ``p -= v``. MAE sums gradients and applies the current rate to the sum: ``v = m v + g``, then
    ``p -= lr v``. The two differ while the rate changes, by about ``1 / (1 - m)`` steps of the
    schedule. Here the sum is multiplied by the ratio of the rates before each step, which gives
    MAE's update. Without weight decay, as in linear probing, the trust ratios are the same.

    A learning rate of exactly 0 resets the sum to 0.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """Perform one step.

        Args:
            closure: Computes loss and gradients again.

        Returns:
            The result of ``closure``; None without one.
        """
        for group in self.param_groups:
            if last := group.get('last_lr'):
                for parameter in group['params']:
                    if 'momentum_buffer' in self.state[parameter]:
                        self.state[parameter]['momentum_buffer'].mul_(group['lr'] / last)
            group['last_lr'] = group['lr']
        return super().step(closure)
