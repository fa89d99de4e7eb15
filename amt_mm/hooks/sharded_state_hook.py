"""ShardedStateHook: checkpoints of divided weights are those of whole ones."""

from __future__ import annotations

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from amt_mm.errors import InputError
from amt_mm.models.sharded_model import gather_tensor, shard_like
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import HOOKS


@HOOKS.register_module()
class ShardedStateHook(Hook):
    """Save whole tensors under :class:`~amt_mm.models.ShardedModel`, and load parts of them.

    :class:`~amt_mm.engine.OverlayRunner` adds it where the model is divided. Before one
    process saves, all must call :meth:`collect`.

    Raises:
        InputError: At the start of training, an option that divided weights do not go
            with.
    """

    # After the hooks that compare a checkpoint with the model and between processes.
    priority = 'LOWEST'

    def __init__(self) -> None:
        self._whole: dict = {}

    def before_run(self, runner: Runner) -> None:
        """Refuse what was not made for divided weights."""
        wrapper = runner.optim_wrapper
        name = 'model_wrapper_cfg.type=amt_mm.ShardedModel'
        if not isinstance(wrapper, OptimWrapper):
            raise InputError(f'{name} is for training with one optimiser, and not for tests')
        if hasattr(wrapper, 'loss_scaler'):
            raise InputError(f'{name} does not go with a scaled loss (fp16): use --amp bf16, or '
                             "optim_wrapper=dict(type='amt_mm.BF16OptimWrapper')")
        if wrapper._accumulative_counts > 1:
            raise InputError(f'{name} does not go with gradient accumulation: set '
                             'optim_wrapper.accumulative_counts=1')
        if runner.cfg.get('compile') not in (None, False):
            raise InputError(f'{name} does not go with a compiled network: leave out --compile')
        if hasattr(wrapper.optimizer, 'consolidate_state_dict'):
            raise InputError(f'{name} divides the optimiser\'s state already: replace '
                             'optim_wrapper.optimizer.type=amt_mm.ShardedOptimizer by AdamW')

    def collect(self, runner: Runner, optimizer: bool) -> None:
        """Gather what a checkpoint shall hold, on the CPU of the first process.

        Args:
            runner: Between two steps.
            optimizer: Whether the optimiser's state, too.
        """
        self._whole = {'state_dict': _collected(unwrapped(runner).state_dict())}
        if optimizer:
            self._whole['optimizer'] = _collected(runner.optim_wrapper.state_dict())

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Put whole tensors in the place of this process's parts."""
        checkpoint.update(self._whole)
        self._whole = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take this process's parts of what the checkpoint holds."""
        weights = checkpoint.get('state_dict', checkpoint)
        own = unwrapped(runner).state_dict()
        for name, value in weights.items():
            # MMEngine strips this prefix after the hooks.
            weights[name] = shard_like(value, own.get(name.removeprefix('module.')))
        if 'optimizer' in checkpoint:
            _divide_optimizer(checkpoint['optimizer'], runner.optim_wrapper.optimizer.param_groups)


def _collected(state: object) -> object:
    """The same with whole tensors on the CPU; None in processes that do not save."""
    if isinstance(state, dict):
        return {name: _collected(value) for name, value in state.items()}
    if isinstance(state, list):
        return [_collected(value) for value in state]
    whole = gather_tensor(state)
    if not is_main_process():
        return None
    return whole.detach().cpu() if isinstance(whole, Tensor) else whole


def _divide_optimizer(checkpoint: dict, groups: list[dict]) -> None:
    # As torch does: parameters of both in the order of their groups.
    parameters: list[nn.Parameter] = [p for group in groups for p in group['params']]
    indices = [index for group in checkpoint['param_groups'] for index in group['params']]
    for index, parameter in zip(indices, parameters, strict=False):
        state = checkpoint['state'].get(index, {})
        state.update({name: shard_like(value, parameter) for name, value in state.items()})
