"""One small transformer in mmpretrain and in timm, with random weights."""

import torch
from mmpretrain.models import VisionTransformer
from timm.models import VisionTransformer as TimmViT

SIZE, PATCH, WIDTH, DEPTH, HEADS = (40, 56), 8, 24, 2, 3
ARCH = dict(embed_dims=WIDTH, num_layers=DEPTH, num_heads=HEADS, feedforward_channels=72)


def randomised(model):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * .3)
    model.eval()  # mmpretrain's returns nothing
    return model


def timm_vit(**kwargs):
    return randomised(TimmViT(**{**dict(
        img_size=SIZE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, mlp_ratio=3,
        num_classes=0), **kwargs}))


def our_vit(**kwargs):
    return randomised(VisionTransformer(**{**dict(
        arch=ARCH, img_size=SIZE, patch_size=PATCH, out_type='raw'), **kwargs}))


def same(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
