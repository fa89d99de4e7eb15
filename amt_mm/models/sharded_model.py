"""ShardedModel: weights, gradients and optimiser state are divided among the processes."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.dist import broadcast, is_distributed
from mmengine.optim import OptimWrapper
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard

from amt_mm.errors import InputError
from amt_mm.registry import MODEL_WRAPPERS
from amt_mm.sharded_tensors import gather_tensor

from .host import Host


@MODEL_WRAPPERS.register_module()
class ShardedModel(nn.Module):
    """A host under torch's ``fully_shard`` (FSDP2), in place of DistributedDataParallel.

    Each parameter is sharded along its first dimension. A transformer block gathers its parameters
    before its forward and backward pass and frees them afterwards; gradients are averaged and
    sharded. Training steps equal those of DistributedDataParallel; parameter names are unchanged.

    Requires :class:`~amt_mm.engine.OverlayRunner`, whose checkpoints then contain unsharded tensors
    and fit any number of processes, sharded or not::

        model_wrapper_cfg = dict(type='amt_mm.ShardedModel')

    Weights are initialised here, by the host's ``init_weights``, and broadcast from the first
    process.

    Args:
        module: An unsharded host on its device.

    Raises:
        InputError: There is only one process, or the model is not a host.
    """

    def __init__(self, module: Host) -> None:
        super().__init__()
        if not is_distributed():
            raise InputError('model_wrapper_cfg.type=amt_mm.ShardedModel needs several processes '
                             '(tools/dist_train.sh); for one, add --cfg-options '
                             'model_wrapper_cfg=None')
        if not isinstance(module, Host):
            raise InputError('model_wrapper_cfg.type=amt_mm.ShardedModel shards AMTMAE, AMTSimMIM '
                             f'and AMTMaskFeat, not {type(module).__name__}')
        module.init_weights()
        for value in module.state_dict().values():
            broadcast(value)
        # In a tuple, so that its parameters are not registered with this module.
        self._empty_copy = (_copy_without_storage(module),)
        for block in list(module.modules()):
            if isinstance(block, TransformerEncoderLayer):
                fully_shard(block)
        self.module = fully_shard(module)

    def forward(self, *args, **kwargs) -> dict | tuple:
        """Call the host."""
        return self.module(*args, **kwargs)

    def train_step(self, data: dict, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """Train the host for one step."""
        return self.module.train_step(data, optim_wrapper)

    @contextmanager
    def unsharded(self) -> Iterator[Host]:
        """Gather all weights in an unsharded host, for inference only.

        All processes must call it. It takes the memory of the unsharded weights until the block is
        left. Buffers and preprocessor are shared with the sharded host.

        Yields:
            Another object of the host's class.
        """
        host, = self._empty_copy
        host.train(self.module.training)
        empty = dict(host.named_parameters())
        try:
            host.load_state_dict({name: gather_tensor(value).detach() for name, value in
                                  self.module.named_parameters()}, strict=False, assign=True)
            yield host
        finally:
            host.load_state_dict(empty, strict=False, assign=True)


def _copy_without_storage(module: Host) -> Host:
    """Copy a host with parameters on the meta device, sharing its buffers and preprocessor."""
    shared = [module.data_preprocessor, *module.buffers()]
    memo = {id(item): item for item in shared}
    memo.update((id(parameter), nn.Parameter(parameter.to('meta'), parameter.requires_grad))
                for parameter in module.parameters())
    with torch.no_grad():
        return copy.deepcopy(module, memo)
