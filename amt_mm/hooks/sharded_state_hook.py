"""ShardedStateHook: checkpoints of sharded weights equal those of whole weights."""

from __future__ import annotations

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS
from amt_mm.sharded_tensors import gather_tensor, shard_like


@HOOKS.register_module()
class ShardedStateHook(Hook):
    """Save whole tensors under :class:`~amt_mm.models.ShardedModel`, and load shards of them.

    :class:`~amt_mm.engine.OverlayRunner` adds it for sharded models. All processes must call
    :meth:`collect` before one saves.

    Raises:
        InputError: An option is not supported with sharded weights.
    """

    # After the hooks that compare a checkpoint with the model and across processes.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._whole: dict = {}

    def before_run(self, runner: Runner) -> None:
        """Refuse options that are not supported with sharded weights."""
        wrapper = runner.optim_wrapper
        name = 'model_wrapper_cfg.type=amt_mm.ShardedModel'
        if not isinstance(wrapper, OptimWrapper):
            raise InputError(f'{name} is for training with one optimiser, not for tests')
        if hasattr(wrapper, 'loss_scaler'):
            raise InputError(f'{name} does not support loss scaling (fp16): use --amp bf16, or '
                             "optim_wrapper=dict(type='amt_mm.BF16OptimWrapper')")
        if wrapper._accumulative_counts > 1:
            raise InputError(f'{name} does not support gradient accumulation: set '
                             'optim_wrapper.accumulative_counts=1')
        if runner.cfg.get('compile') not in (None, False):
            raise InputError(f'{name} does not support compilation: leave out --compile')
        if hasattr(wrapper.optimizer, 'consolidate_state_dict'):
            raise InputError(f'{name} already shards the optimiser state: replace '
                             'optim_wrapper.optimizer.type=amt_mm.ShardedOptimizer by AdamW')

    def collect(self, runner: Runner, optimizer: bool) -> None:
        """Gather weights, and optionally the optimiser's state, on the main process."""
        self._whole = {'state_dict': _gather_to_main(unwrapped(runner).state_dict())}
        if optimizer:
            self._whole['optimizer'] = _gather_to_main(runner.optim_wrapper.state_dict())

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Replace this process's shards by whole tensors."""
        checkpoint.update(self._whole)
        self._whole = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Replace whole tensors by this process's shards."""
        weights = checkpoint.get('state_dict', checkpoint)
        own = unwrapped(runner).state_dict()
        for name, value in weights.items():
            # MMEngine strips this prefix after the hooks have run.
            weights[name] = shard_like(value, own.get(name.removeprefix('module.')))
        if 'optimizer' in checkpoint:
            _divide_optimizer(checkpoint['optimizer'], runner.optim_wrapper.optimizer.param_groups)


def _gather_to_main(state: object) -> object:
    """Return the state with whole tensors on the CPU; None for each in other processes."""
    if isinstance(state, dict):
        return {name: _gather_to_main(value) for name, value in state.items()}
    if isinstance(state, list):
        return [_gather_to_main(value) for value in state]
    whole = gather_tensor(state)
    if not is_main_process():
        return None
    return whole.detach().cpu() if isinstance(whole, Tensor) else whole


def _divide_optimizer(checkpoint: dict, groups: list[dict]) -> None:
    # As in torch, parameters of both are in the order of their groups.
    parameters: list[nn.Parameter] = [p for group in groups for p in group['params']]
    indices = [index for group in checkpoint['param_groups'] for index in group['params']]
    for index, parameter in zip(indices, parameters, strict=False):
        state = checkpoint['state'].get(index, {})
        state.update({name: shard_like(value, parameter) for name, value in state.items()})
