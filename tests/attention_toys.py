"""Small transformers of several libraries whose attention is far from uniform."""

import amt_mm.registry  # noqa: F401  isort: skip  before mmpretrain

import torch
from mmpretrain.models import DistilledVisionTransformer, VisionTransformer
from timm.models import VisionTransformer as TimmViT
from torch import nn

from amt_mm.models import RegisterViT

HEADS, WIDTH, PATCH, SIZE = 3, 24, 8, (40, 56)  # grid 5 x 7
ARCH = dict(embed_dims=WIDTH, num_layers=3, num_heads=HEADS, feedforward_channels=32)


class Attention(nn.Module):
    """Self-attention with timm's attributes."""

    def __init__(self, width, heads, qk_norm, bias):
        super().__init__()
        self.num_heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=bias)
        make = nn.LayerNorm if qk_norm else nn.Identity
        self.q_norm = make(width // heads) if qk_norm else make()
        self.k_norm = make(width // heads) if qk_norm else make()
        self.proj = nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        q, k, v = (part.reshape(batch, tokens, self.num_heads, -1).transpose(1, 2)
                   for part in self.qkv(x).split(width, dim=-1))
        x = nn.functional.scaled_dot_product_attention(self.q_norm(q), self.k_norm(k), v)
        return self.proj(x.transpose(1, 2).reshape(batch, tokens, width))


class Block(nn.Module):

    def __init__(self, width, heads, qk_norm, bias):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads, qk_norm, bias)
        self.mlp = nn.Sequential(nn.Linear(width, 32), nn.GELU(), nn.Dropout(.5),
                                 nn.Linear(32, width))

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class TimmStyle(nn.Module):
    """A transformer with timm's names: `blocks`, `norm1`, `q_norm`."""

    def __init__(self, depth=2, width=WIDTH, heads=HEADS, patch=PATCH, grid=(5, 7), qk_norm=True,
                 bias=True):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, width, patch, patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid[0] * grid[1], width))
        self.pos_drop = nn.Dropout(.5)
        self.blocks = nn.Sequential(*[Block(width, heads, qk_norm, bias) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)

    def forward(self, images):
        x = self.patch_embed(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        return self.norm(self.blocks(self.pos_drop(x)))[:, 0]


def randomize(vit):
    """Add weights large enough that attention is far from uniform."""
    with torch.no_grad():
        for parameter in vit.parameters():
            scale = .5 if parameter.ndim == 1 else 1.5 / parameter[0].numel()**.5
            parameter.add_(torch.randn_like(parameter) * scale)
    return vit


def mmpretrain_vit(**kwargs):
    return randomize(VisionTransformer(ARCH, img_size=SIZE, patch_size=PATCH, **kwargs))


def images(batch=2, seed=1):
    return torch.randn(batch, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def timm_with_registers():
    vit = TimmViT(img_size=SIZE, patch_size=PATCH, embed_dim=WIDTH, depth=2, num_heads=HEADS,
                  reg_tokens=2)
    return randomize(vit)


VITS = {
    'mmpretrain': mmpretrain_vit,
    'mmpretrain, dropout': lambda: mmpretrain_vit(drop_rate=.5, drop_path_rate=.5),
    'mmpretrain, mean of patches': lambda: mmpretrain_vit(out_type='avg_featmap'),
    'mmpretrain, layer scale, no bias': lambda: mmpretrain_vit(
        qkv_bias=False, layer_scale_init_value=.1),
    'timm': lambda: randomize(TimmStyle(qk_norm=False)),
    'timm, q_norm': lambda: randomize(TimmStyle()),
    'registers': lambda: randomize(
        RegisterViT(ARCH, img_size=SIZE, patch_size=PATCH, num_registers=3)),
    'rotary, registers': lambda: randomize(
        RegisterViT(ARCH, img_size=SIZE, patch_size=PATCH, num_registers=3, rotary=True)),
    'timm, registers': timm_with_registers,
    # One token in addition to [CLS] and patches.
    'distillation token': lambda: randomize(
        DistilledVisionTransformer(ARCH, img_size=SIZE, patch_size=PATCH)),
    'timm, no bias, one block': lambda: randomize(TimmStyle(depth=1, bias=False))}
