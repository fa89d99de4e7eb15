"""Memory counted on small copies is that of the whole network."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from three_hosts import DECODER_DEPTH, GRID, HOSTS, SIZE, build_host, host_config
from torch.autograd.graph import saved_tensors_hooks

from lab.cost.memory import memory_of


@pytest.mark.parametrize('with_cp', [False, True])
@pytest.mark.parametrize('host', HOSTS)
def test_extrapolated_is_counted(host, with_cp):
    changes = dict(with_cp=with_cp, neck=dict(with_cp=with_cp))
    parts = host_config(host, **changes)
    cfg = ConfigDict(data_preprocessor=parts.pop('data_preprocessor'), model=parts)
    before = copy.deepcopy(cfg)
    memory = memory_of(cfg, bf16=False)
    assert cfg == before

    model = build_host(host, **changes)
    assert memory.parameters == sum(p.numel() for p in model.parameters())
    assert memory.state() == 16 * memory.parameters and memory.state(8) == 9 * memory.parameters
    weights, kept = {p.data_ptr() for p in model.parameters()}, {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor  # alive, so that no address returns
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        model.losses(torch.zeros(6, 3, *SIZE), model.data_preprocessor.mask_generator(6, GRID))
    total = sum(t.untyped_storage().nbytes() for p, t in kept.items() if p not in weights)
    assert memory.copies + 6 * memory.image == pytest.approx(total, rel=.01)
    # What blocks keep dominates, unless it is made again.
    assert (memory.block > memory.image / (2 + DECODER_DEPTH + 4)) != with_cp
