"""ShardedModel: each process keeps a part of the weights, gradients and optimiser's state."""

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
from torch.distributed.tensor import DTensor, distribute_tensor

from amt_mm.errors import InputError
from amt_mm.registry import MODEL_WRAPPERS

from .host import Host


@MODEL_WRAPPERS.register_module()
class ShardedModel(nn.Module):
    """A host under torch's ``fully_shard`` (FSDP2), in place of DistributedDataParallel.

    Each parameter is cut along its first dimension, a part for each process. A block of
    the transformer gathers its own before it runs, forwards and backwards, and lets go
    of them afterwards; gradients are averaged and cut. Steps are those of
    DistributedDataParallel. Names of parameters stay as they are.

    It needs :class:`~amt_mm.engine.OverlayRunner`, whose checkpoints then hold whole
    tensors and fit any number of processes, sharded or not::

        model_wrapper_cfg = dict(type='amt_mm.ShardedModel')

    Weights are initialised here, by the host's ``init_weights``, and those of the first
    process hold for all.

    Args:
        module: A host on its device, whole.

    Raises:
        InputError: There is one process alone, or the model is no host.
    """

    def __init__(self, module: Host) -> None:
        super().__init__()
        if not is_distributed():
            raise InputError('model_wrapper_cfg.type=amt_mm.ShardedModel needs several processes '
                             '(tools/dist_train.sh); for one add --cfg-options '
                             'model_wrapper_cfg=None')
        if not isinstance(module, Host):
            raise InputError('model_wrapper_cfg.type=amt_mm.ShardedModel divides AMTMAE, AMTSimMIM '
                             f'and AMTMaskFeat, not {type(module).__name__}')
        module.init_weights()
        for value in module.state_dict().values():
            broadcast(value)
        # In a tuple, so that its parameters are none of this module's.
        self._emptied = (_without_memory(module),)
        for block in list(module.modules()):
            if isinstance(block, TransformerEncoderLayer):
                fully_shard(block)
        self.module = fully_shard(module)

    def forward(self, *args, **kwargs) -> dict | tuple:
        """As the host's."""
        return self.module(*args, **kwargs)

    def train_step(self, data: dict, optim_wrapper: OptimWrapper) -> dict[str, Tensor]:
        """As the host's."""
        return self.module.train_step(data, optim_wrapper)

    @contextmanager
    def whole(self) -> Iterator[Host]:
        """The host as one process has it, with all weights, to look with and not to train.

        All processes must call it. It takes the memory of the undivided weights until the
        block is left. Buffers and preprocessor are those of the divided host.

        Yields:
            Another object of the host's class.
        """
        host, = self._emptied
        host.train(self.module.training)
        empty = dict(host.named_parameters())
        try:
            host.load_state_dict({name: gathered(value).detach() for name, value in
                                  self.module.named_parameters()}, strict=False, assign=True)
            yield host
        finally:
            host.load_state_dict(empty, strict=False, assign=True)


def gathered(value: object) -> object:
    """All of a divided tensor, in all processes, which must call it together; others as they are.

    Args:
        value: A tensor or anything else.
    """
    return value.full_tensor() if isinstance(value, DTensor) else value


def divided(value: object, like: object) -> object:
    """This process's part of a whole tensor, cut as another one is.

    Args:
        value: A whole tensor, the same in all processes, or anything else.
        like: What it belongs to. If that is not divided, or of another shape, ``value`` is
            given back as it is.
    """
    if not (isinstance(like, DTensor) and isinstance(value, Tensor) and value.shape == like.shape):
        return value
    # No source: every process has the tensor already.
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements,
                             src_data_rank=None)


def _without_memory(module: Host) -> Host:
    """A copy that has parameters without memory, and shares all else that a tensor holds."""
    shared = [module.data_preprocessor, *module.buffers()]
    memo = {id(item): item for item in shared}
    memo.update((id(parameter), nn.Parameter(parameter.to('meta'), parameter.requires_grad))
                for parameter in module.parameters())
    with torch.no_grad():
        return copy.deepcopy(module, memo)
