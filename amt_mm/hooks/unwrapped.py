"""The model itself, under whatever distributes it."""

from __future__ import annotations

from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn


def unwrapped(runner: Runner) -> nn.Module:
    """The runner's model without the wrapper of distributed training."""
    model = runner.model
    return model.module if is_model_wrapper(model) else model
