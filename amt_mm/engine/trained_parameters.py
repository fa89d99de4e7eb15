"""TrainedOptimWrapperConstructor: one line of the log for each frozen part of a model."""

from __future__ import annotations

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from amt_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's constructor, which skips modules without trainable parameters.

    The parent warns of each of their parameters, which gives some hundred lines for a teacher. In
    other modules, it still warns of every frozen parameter.
    """

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '',
                   **kwargs) -> None:
        """Append one group for each parameter; see the parent."""
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            print_log(f'{prefix or "the model"}: none of its {len(own)} parameters is trained, so '
                      'the optimiser leaves them out', logger='current')
            return
        super().add_params(params, module, prefix, **kwargs)
