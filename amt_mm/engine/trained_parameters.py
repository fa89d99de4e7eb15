"""TrainedOptimWrapperConstructor: parts of a model that do not learn, in one line of the log."""

from __future__ import annotations

from mmengine.logging import print_log
from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from amt_mm.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class TrainedOptimWrapperConstructor(DefaultOptimWrapperConstructor):
    """MMEngine's constructor, which passes by modules without a parameter that learns.

    The parent looks at each parameter of them and warns of each, which for a teacher are
    some hundred lines. Of other modules it still warns of every parameter that does not
    learn.
    """

    def add_params(self, params: list[dict], module: nn.Module, prefix: str = '',
                   **kwargs) -> None:
        """Append one group a parameter; see the parent."""
        own = list(module.parameters())
        if own and not any(parameter.requires_grad for parameter in own):
            print_log(f'{prefix or "the model"}: none of its {len(own)} parameters is trained, so '
                      'the optimiser leaves them out', logger='current')
            return
        super().add_params(params, module, prefix, **kwargs)
