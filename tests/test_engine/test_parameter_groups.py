import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from amt_mm.engine.parameter_groups import merge_groups


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 7), nn.LayerNorm(7), nn.Linear(7, 3), nn.LayerNorm(3))


def wrapper(model, fused=False):
    return build_optim_wrapper(model, dict(
        optimizer=dict(type='AdamW', lr=1e-2, weight_decay=.3, fused=fused),
        paramwise_cfg=dict(norm_decay_mult=0., bias_decay_mult=0.,
                           custom_keys={'2': dict(lr_mult=.5)})))


def test_parameters_with_the_same_settings_share_a_group():
    model = network()
    groups = wrapper(model).optimizer.param_groups
    merged = merge_groups(groups)
    # Decayed, not decayed, and the layer with a rate of its own, whose key comes first.
    assert len(groups) == 8 and len(merged) == 3
    assert sorted(id(parameter) for group in merged for parameter in group['params']) == sorted(
        id(parameter) for parameter in model.parameters())
    for before in groups:
        after = next(group for group in merged
                     if any(parameter is before['params'][0] for parameter in group['params']))
        assert {**before, 'params': None} == {**after, 'params': None}
        assert type(after) is dict


def test_steps_are_the_same_to_the_bit():
    steps = []
    for merge in (False, True):
        model = network()
        optimizer = wrapper(model, fused=True).optimizer
        if merge:
            optimizer.param_groups[:] = merge_groups(optimizer.param_groups)
        for step in range(5):
            optimizer.zero_grad()
            model(torch.randn(4, 5, generator=torch.Generator().manual_seed(step))).square().sum(
                ).backward()
            optimizer.step()
        steps.append(torch.cat([parameter.flatten() for parameter in model.parameters()]))
    assert torch.equal(*steps)


def test_it_can_be_saved_and_loaded():
    model = network()
    optimizer = wrapper(model).optimizer
    optimizer.param_groups[:] = merge_groups(optimizer.param_groups)
    model(torch.randn(4, 5)).sum().backward()
    optimizer.step()
    other = wrapper(network()).optimizer
    other.param_groups[:] = merge_groups(other.param_groups)
    other.load_state_dict(optimizer.state_dict())
    for one, two in zip(optimizer.param_groups, other.param_groups, strict=True):
        for mine, yours in zip(one['params'], two['params'], strict=True):
            assert torch.equal(optimizer.state[mine]['exp_avg'], other.state[yours]['exp_avg'])
