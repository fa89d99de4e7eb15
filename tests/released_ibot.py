"""Student and teacher as DINO, iBOT and AttMask name them, and files as their training writes them.

The blocks are timm's, which has the same names; the rest is written out here.
"""

import argparse

import numpy as np
import torch
from timm.models import VisionTransformer
from torch import nn
from torch.nn import functional as F

SIZE, PATCH, WIDTH, DEPTH, HEADS = 40, 8, 24, 2, 3
ARCH = dict(embed_dims=WIDTH, num_layers=DEPTH, num_heads=HEADS, feedforward_channels=72)
HIDDEN, BOTTLENECK, OUT = 20, 8, 19


class Backbone(VisionTransformer):

    def __init__(self, masks):
        super().__init__(img_size=SIZE, patch_size=PATCH, embed_dim=WIDTH, depth=DEPTH,
                         num_heads=HEADS, mlp_ratio=3, num_classes=0)
        if masks:
            self.masked_embed = nn.Parameter(torch.zeros(1, WIDTH))

    def tokens(self, images, mask=None):
        """[CLS] and patches behind the norm; masked patches replaced before all else."""
        patches = self.patch_embed(images)
        for image, row in zip(patches, [] if mask is None else mask, strict=False):
            for place in row.nonzero():
                image[place] = self.masked_embed
        x = torch.cat([self.cls_token.repeat(len(images), 1, 1), patches], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class Head(nn.Module):

    def __init__(self, patches, shared=True):
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(WIDTH, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, HIDDEN),
                                 nn.GELU(), nn.Linear(HIDDEN, BOTTLENECK))
        self.last_layer = self.last()
        if patches:
            self.last_layer2 = self.last_layer if shared else self.last()

    @staticmethod
    def last():
        return nn.utils.weight_norm(nn.Linear(BOTTLENECK, OUT, bias=False))

    def forward(self, tokens):
        return self.last_layer(F.normalize(self.mlp(tokens), dim=-1))


class Network(nn.Module):

    def __init__(self, masks=False, patches=True, shared=True, scales=False):
        super().__init__()
        self.backbone = Backbone(masks)
        if scales:
            for block in self.backbone.blocks:
                block.gamma_1 = nn.Parameter(torch.ones(WIDTH))
                block.gamma_2 = nn.Parameter(torch.ones(WIDTH))
        self.head = Head(patches, shared)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=.3)
        self.eval()


class Wrapped(nn.Module):
    """What DDP makes of the names."""

    def __init__(self, module):
        super().__init__()
        self.module = module


def release(path, method='ibot', seed=0, shared=True):
    """A file of their training; returns student and teacher."""
    torch.manual_seed(seed)
    masks = method == 'ibot'
    student, teacher = Network(masks, masks, shared), Network(False, masks)
    optimizer = torch.optim.AdamW(student.parameters())
    for group in optimizer.param_groups:
        group['lr'] = np.linspace(0, 1e-3, 7)[3]  # a number of numpy's, as in their schedules
    loss = {'center': torch.randn(1, OUT)}
    if masks:
        loss['center2'] = torch.randn(1, 1, OUT)
    torch.save({
        'student': Wrapped(student).state_dict(), 'teacher': teacher.state_dict(),
        'optimizer': optimizer.state_dict(), 'epoch': 100, f'{method}_loss': loss,
        'fp16_scaler': {'scale': 65536.0, '_growth_tracker': 7},
        'args': argparse.Namespace(arch='vit_small', lr=5e-4, global_crops_scale=(.25, 1.0))}, path)
    return student, teacher
