"""ShardedOptimizer: each process keeps a part of the optimiser's state."""

from __future__ import annotations

import torch
from mmengine.dist import is_distributed
from mmengine.optim import ZeroRedundancyOptimizer

from amt_mm.errors import InputError
from amt_mm.registry import OPTIMIZERS

from .parameter_groups import merge_groups


@OPTIMIZERS.register_module()
class ShardedOptimizer(ZeroRedundancyOptimizer):
    """torch's ZeroRedundancyOptimizer, whose checkpoints are those of the whole optimiser.

    Each process updates a part of the parameters, keeps the state of these alone, and sends
    them to the others. MMEngine's wrapper collects the state while the first process saves,
    and waits for the others for ever; here :class:`~amt_mm.engine.OverlayRunner` lets all
    collect before one saves. A checkpoint fits any number of processes, and the plain
    optimiser.

    Args:
        params: Parameters or groups of them.
        optimizer_type: Class of ``torch.optim``. Defaults to ``'AdamW'``.
        **kwargs: Of that class.

    Raises:
        InputError: There is one process alone.
    """

    def __init__(self, params, optimizer_type: str = 'AdamW', **kwargs) -> None:
        if not is_distributed():
            raise InputError('optim_wrapper.optimizer.type=amt_mm.ShardedOptimizer needs several '
                             f'processes (tools/dist_train.sh); for one use {optimizer_type}')
        params = list(params)
        if params and isinstance(params[0], dict):
            # Merged as those of a plain optimizer are: afterwards, groups are linked to those of
            # the part that this process keeps.
            params = merge_groups({**kwargs, **group} for group in params)
        super().__init__(params, optimizer_type, **kwargs)

    def state_dict(self) -> dict:
        """State of all processes, as last collected by ``consolidate_state_dict``."""
        return super(ZeroRedundancyOptimizer, self).state_dict()

    def load_state_dict(self, state_dict: dict) -> None:
        """Take this process's part of a whole state."""
        super().load_state_dict(state_dict)
        # torch moves counts of steps to the CPU, where a fused kernel on a GPU cannot read them.
        for group in self.optim.param_groups:
            for parameter in group['params'] if group.get('fused') else ():
                state = self.optim.state[parameter]
                state.update((name, value.to(parameter.device)) for name, value in state.items()
                             if isinstance(value, torch.Tensor))
