"""Learning rate and weight decay of every parameter against a plain version of the rule."""

import re

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from torch import nn

from amt_mm.detection import SimpleFeaturePyramid, ViTDet
from amt_mm.errors import InputError

DEPTH, LR, DECAY, RATE = 5, 1e-3, .1, .7


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = ViTDet(
            arch=dict(embed_dims=24, num_layers=DEPTH, num_heads=3, feedforward_channels=48),
            img_size=64, window_size=3)
        self.neck = SimpleFeaturePyramid(24, 8)
        self.head = nn.Conv2d(8, 3, 1)


def build(model, **paramwise):
    wrapper = build_optim_wrapper(model, dict(
        constructor='amt_mm.LayerDecayOptimWrapperConstructor',
        optimizer=dict(type='AdamW', lr=LR, weight_decay=DECAY), paramwise_cfg=paramwise))
    return wrapper.optimizer.param_groups


def settings(model, groups):
    """(lr, weight decay) by name; every parameter is in exactly one group."""
    names = {parameter: name for name, parameter in model.named_parameters()}
    table = {}
    for group in groups:
        for parameter in group['params']:
            assert names[parameter] not in table
            table[names[parameter]] = (group['lr'], group['weight_decay'])
    assert table.keys() == set(names.values())
    return table


def wanted(name, parameter):
    """ViTDet: rate ** (depth + 1 - layer), layers from 1, embeddings 0, the rest depth + 1."""
    layer = DEPTH + 1
    if name.startswith('backbone.'):
        found = re.match(r'backbone\.layers\.(\d+)\.', name)
        layer = int(found[1]) + 1 if found else 0
    # Matrices and filters decay: everything with two or more axes except positions.
    decays = parameter.ndim > 1 and 'pos' not in name
    return LR * RATE ** (DEPTH + 1 - layer), DECAY if decays else 0


def test_every_parameter():
    model = Detector()
    table = settings(model, build(model, layer_decay_rate=RATE))
    for name, parameter in model.named_parameters():
        assert table[name] == pytest.approx(wanted(name, parameter)), name
    # The rule, in numbers.
    assert table['backbone.pos_embed'] == pytest.approx((1e-3 * .7 ** 6, 0))
    assert table['backbone.layers.4.attn.qkv.weight'] == pytest.approx((.7e-3, .1))
    assert table['backbone.layers.4.attn.rel_pos_h'] == pytest.approx((.7e-3, 0))
    assert table['neck.levels.0.1.weight'] == (1e-3, 0)
    assert table['head.weight'] == (1e-3, .1)


def test_wrapped_model_and_custom_settings():
    model = Detector()
    wrapped = nn.Module()
    wrapped.module = model  # as DDP has it
    table = settings(model, build(wrapped, layer_decay_rate=RATE, bias_decay_mult=1.,
                                  custom_keys={'head': dict(decay_mult=2.)}))
    assert table['neck.levels.0.0.bias'] == (1e-3, .1)
    assert table['head.weight'] == (1e-3, .2)
    assert table['backbone.pos_embed'][1] == 0


def test_frozen_parameters_are_left_out():
    model = Detector()
    model.backbone.pos_embed.requires_grad = False
    groups = build(model, layer_decay_rate=RATE)
    assert sum(len(group['params']) for group in groups) == len(list(model.parameters())) - 1


def test_bad_settings():
    with pytest.raises(InputError, match='layer_decay_rate is missing'):
        build(Detector())
    model = Detector()
    model.backbone = torch.nn.Conv2d(3, 8, 1)
    with pytest.raises(InputError, match='a backbone with get_layer_depth, such as amt_mm.ViTDet,'
                       ' not Conv2d'):
        build(model, layer_decay_rate=RATE)
