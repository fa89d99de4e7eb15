"""RegisterViT: what fine-tuning does with its registers."""

from functools import partial

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from amt_mm.models import RegisterViT
from amt_mm.shipped import configs_folder


def test_registers_are_fine_tuned_as_cls_is():
    with torch.device('meta'):
        vit = RegisterViT('deit-tiny', 32, 8, num_registers=4)
    model = nn.ModuleDict(dict(backbone=vit))
    model.get_layer_depth = partial(vit.get_layer_depth, prefix='backbone.')
    cfg = Config.fromfile(configs_folder() / '_base_/protocols/finetune.py').optim_wrapper
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        groups = build_optim_wrapper(model, {**cfg, 'type': 'OptimWrapper'}).param_groups
    found = {name: next((group['lr'], group['weight_decay']) for group in groups
                        if any(p is parameter for p in group['params']))
             for name, parameter in model.named_parameters()}
    first = found['backbone.patch_embed.projection.weight'][0]
    assert found['backbone.pre_norm.tokens'] == found['backbone.cls_token'] == (first, 0)
    assert first < found['backbone.layers.0.attn.qkv.weight'][0]
