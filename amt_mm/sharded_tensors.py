"""Whole tensors from sharded ones, and the other way round."""

from __future__ import annotations

from torch import Tensor
from torch.distributed.tensor import DTensor, distribute_tensor


def gather_tensor(value: object) -> object:
    """Gather a sharded tensor in all processes, which must call it together.

    Args:
        value: A tensor or anything else; what is not sharded is returned unchanged.
    """
    return value.full_tensor() if isinstance(value, DTensor) else value


def shard_like(value: object, like: object) -> object:
    """Shard a tensor as another one is.

    Args:
        value: An unsharded tensor, the same in all processes, or anything else.
        like: What it belongs to. If that is not sharded or has another shape, ``value`` is returned
            unchanged.
    """
    if not (isinstance(like, DTensor) and isinstance(value, Tensor) and value.shape == like.shape):
        return value
    # Without a source rank: every process has the tensor already.
    return distribute_tensor(value.to(like.device), like.device_mesh, like.placements,
                             src_data_rank=None)
