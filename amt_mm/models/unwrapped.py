"""The model itself, under whatever distributes it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn

from amt_mm.models.sharded_model import ShardedModel


def unwrapped(runner: Runner) -> nn.Module:
    """The runner's model without the wrapper of distributed training."""
    model = runner.model
    return model.module if is_model_wrapper(model) else model


def whole_model(runner: Runner) -> AbstractContextManager[nn.Module]:
    """The runner's model to look with: :func:`unwrapped`, or all of one that is divided.

    All processes must enter it.
    """
    if isinstance(runner.model, ShardedModel):
        return runner.model.unsharded()
    return nullcontext(unwrapped(runner))
