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
    """torch's ZeroRedundancyOptimizer, with checkpoints equal to those of the plain optimiser.

    Each process updates a part of the parameters, keeps only their state, and sends them to the
    others. MMEngine's wrapper gathers the state only in the process that saves, which then waits
    for the others forever; :class:`~amt_mm.engine.OverlayRunner` gathers it in all processes
    before one saves. A checkpoint fits any number of processes, and the plain optimiser.

    Args:
        params: Parameters or groups of them.
        optimizer_type: Class of ``torch.optim``. Defaults to ``'AdamW'``.
        **kwargs: Of that class.

    Raises:
        InputError: There is only one process.
    """

    def __init__(self, params, optimizer_type: str = 'AdamW', **kwargs) -> None:
        if not is_distributed():
            raise InputError('optim_wrapper.optimizer.type=amt_mm.ShardedOptimizer needs several '
                             f'processes (tools/dist_train.sh); for one use {optimizer_type}')
        params = list(params)
        if params and isinstance(params[0], dict):
            # Merged before construction, which links the groups to those of this process's part.
            params = merge_groups({**kwargs, **group} for group in params)
        super().__init__(params, optimizer_type, **kwargs)

    def state_dict(self) -> dict:
        """Return the state of all processes, as last gathered by ``consolidate_state_dict``."""
        return super(ZeroRedundancyOptimizer, self).state_dict()

    def load_state_dict(self, state_dict: dict) -> None:
        """Load this process's part of a complete state."""
        super().load_state_dict(state_dict)
        # torch moves step counts to the CPU, where a fused GPU kernel cannot read them.
        for group in self.optim.param_groups:
            for parameter in group['params'] if group.get('fused') else ():
                state = self.optim.state[parameter]
                state.update((name, value.to(parameter.device)) for name, value in state.items()
                             if isinstance(value, torch.Tensor))
