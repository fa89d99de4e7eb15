"""Names of the entries of one network in thirteen code bases.

| naming | code base | encoder | decoder |
|---|---|---|---|
| mmpretrain | this toolbox, mmpretrain, mmdet | ``backbone.layers.0.ln1`` | ``neck.`` |
| mae | MAE, AMT's release on MAE | ``blocks.0.norm1`` | ``decoder_blocks.0.norm1`` |
| timm | timm, MAE's encoder-only files | as mae | none |
| simmim | SimMIM on a ViT, AMT's release on SimMIM | ``encoder.blocks.0.norm1`` | ``decoder.0`` |
| ibot | iBOT, AttMask: student and teacher | ``student.backbone.blocks.0.norm1`` | none |
| dino | DINO: the same without masks | ``teacher.backbone.blocks.0.norm1`` | none |
| transformers | ViT, ViTMAE there | ``vit.encoder.layer.0.layernorm_before`` | ``decoder.`` |
| dinov2 | DINOv2, with and without registers | as timm, ``register_tokens`` | none |
| transformers-dinov2 | the same there | ``encoder.layer.0.norm1`` | none |
| dinov3 | DINOv3 | as timm, ``storage_tokens`` | none |
| transformers-dinov3 | the same there | ``layer.0.norm1`` | none |
| timm-dinov3 | the same in timm (Eva) | as timm, ``gamma_1`` | none |
| lightly | lightly on timm's transformers | ``backbone.vit.blocks.0.norm1`` | ``decoder.`` |
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .dinov3 import PERIODS
from .distillation import LOSSES

# Pairs of their and our names; `#` is a number, `@` weight or bias.
ENCODER = (
    ('cls_token', 'cls_token'), ('pos_embed', 'pos_embed'),
    ('patch_embed.proj.@', 'patch_embed.projection.@'), ('norm_pre.@', 'pre_norm.@'),
    ('norm.@', 'ln1.@'), ('fc_norm.@', 'ln2.@'),
)
BLOCK = (
    ('norm1.@', 'ln1.@'), ('attn.qkv.@', 'attn.qkv.@'), ('attn.proj.@', 'attn.proj.@'),
    ('norm2.@', 'ln2.@'), ('mlp.fc1.@', 'ffn.layers.0.0.@'), ('mlp.fc2.@', 'ffn.layers.1.@'),
)
# Gated MLPs: SwiGLU.
GATED = (('mlp.w12.@', 'ffn.w12.@'), ('mlp.w3.@', 'ffn.w3.@'))
SCALES = ('attn.gamma1.weight', 'ffn.gamma2.weight')


def _inside(pairs: Iterable, theirs: str, ours: str) -> list[tuple[str, str]]:
    return [(theirs + a, ours + b) for a, b in pairs]


_TIMM = [
    *_inside(ENCODER, '', 'backbone.'),
    *_inside([*BLOCK, *zip(('ls1.gamma', 'ls2.gamma'), SCALES, strict=True)],
             'blocks.#.', 'backbone.layers.#.'),
    ('reg_token', 'backbone.pre_norm.tokens'), ('head.@', 'head.fc.@'),
]
_MAE = [
    *_TIMM,
    *_inside(BLOCK, 'decoder_blocks.#.', 'neck.decoder_blocks.#.'),
    ('decoder_norm.@', 'neck.ln1.@'),
    *_inside([(name, name) for name in (
        'mask_token', 'decoder_pos_embed', 'decoder_embed.@', 'decoder_pred.@')], '', 'neck.'),
]
_SIMMIM = [
    *_inside([*ENCODER, ('mask_token', 'mask_token')], 'encoder.', 'backbone.'),
    *_inside([*BLOCK, *zip(('gamma_1', 'gamma_2'), SCALES, strict=True)],
             'encoder.blocks.#.', 'backbone.layers.#.'),
    ('decoder.0.@', 'neck.decoder.0.@'),
]
# lightly wraps timm's transformer, whose head it does not train; its decoder has names of MAE. Its
# methods with a teacher name both networks.
_WRAPPED = [(theirs, ours) for theirs, ours in _TIMM if not theirs.startswith('head.')]
_LIGHTLY = [
    *[rule for backbone in ('backbone.', 'student_backbone.', '')
      for rule in (*_inside(_WRAPPED, f'{backbone}vit.', ''),
                   (f'{backbone}mask_token', 'backbone.mask_token'))],
    *_inside(_WRAPPED, 'teacher_backbone.vit.', 'teacher.'),
    *_inside([rule for rule in _MAE if rule not in _TIMM], 'decoder.', ''),
]
# In their files; in memory, release 5 of transformers has other names. They split `qkv`.
_TRANSFORMERS_BLOCK = [
    ('layernorm_before.@', 'ln1.@'), ('attention.attention.qkv.@', 'attn.qkv.@'),
    ('attention.output.dense.@', 'attn.proj.@'), ('layernorm_after.@', 'ln2.@'),
    ('intermediate.dense.@', 'ffn.layers.0.0.@'), ('output.dense.@', 'ffn.layers.1.@'),
]
_TRANSFORMERS = [
    *_inside([('embeddings.cls_token', 'cls_token'),
              ('embeddings.position_embeddings', 'pos_embed'),
              ('embeddings.patch_embeddings.projection.@', 'patch_embed.projection.@'),
              ('layernorm.@', 'ln1.@')], 'vit.', 'backbone.'),
    *_inside(_TRANSFORMERS_BLOCK, 'vit.encoder.layer.#.', 'backbone.layers.#.'),
    ('classifier.@', 'head.fc.@'),
    *_inside(_TRANSFORMERS_BLOCK, 'decoder.decoder_layers.#.', 'neck.decoder_blocks.#.'),
    ('decoder.decoder_norm.@', 'neck.ln1.@'),
    *_inside([(name, name) for name in (
        'mask_token', 'decoder_pos_embed', 'decoder_embed.@', 'decoder_pred.@')],
        'decoder.', 'neck.'),
]
_GATED_TIMM = [*_TIMM, *_inside(GATED, 'blocks.#.', 'backbone.layers.#.')]
_DINOV2 = [('mask_token', 'backbone.mask_token'),
           ('register_tokens', 'backbone.pre_norm.tokens'), *_GATED_TIMM]
_TRANSFORMERS_DINOV2 = [
    ('embeddings.register_tokens', 'backbone.pre_norm.tokens'),
    *_inside([('cls_token', 'cls_token'), ('mask_token', 'mask_token'),
              ('position_embeddings', 'pos_embed'),
              ('patch_embeddings.projection.@', 'patch_embed.projection.@')],
             'embeddings.', 'backbone.'),
    ('layernorm.@', 'backbone.ln1.@'),
    *_inside([('norm1.@', 'ln1.@'), ('attention.attention.qkv.@', 'attn.qkv.@'),
              ('attention.output.dense.@', 'attn.proj.@'), ('norm2.@', 'ln2.@'),
              ('mlp.fc1.@', 'ffn.layers.0.0.@'), ('mlp.fc2.@', 'ffn.layers.1.@'),
              ('mlp.weights_in.@', 'ffn.w12.@'), ('mlp.weights_out.@', 'ffn.w3.@'),
              *zip(('layer_scale1.lambda1', 'layer_scale2.lambda1'), SCALES, strict=True)],
             'encoder.layer.#.', 'backbone.layers.#.'),
]

_ROTARY = [rule for rule in ENCODER if rule[0] != 'pos_embed']
_DINOV3 = [
    ('storage_tokens', 'backbone.pre_norm.tokens'), ('mask_token', 'backbone.mask_token'),
    ('rope_embed.periods', PERIODS), *_inside(_ROTARY, '', 'backbone.'),
    *_inside([*BLOCK, *GATED, *zip(('ls1.gamma', 'ls2.gamma'), SCALES, strict=True)],
             'blocks.#.', 'backbone.layers.#.'),
]
# Of timm's class Eva.
_TIMM_DINOV3 = [
    ('reg_token', 'backbone.pre_norm.tokens'), ('head.@', 'head.fc.@'),
    *_inside(_ROTARY, '', 'backbone.'),
    *_inside([*BLOCK, *GATED, *zip(('gamma_1', 'gamma_2'), SCALES, strict=True)],
             'blocks.#.', 'backbone.layers.#.'),
]
_TRANSFORMERS_DINOV3 = [
    *_inside([('cls_token', 'cls_token'), ('mask_token', 'mask_token'),
              ('register_tokens', 'pre_norm.tokens'),
              ('patch_embeddings.@', 'patch_embed.projection.@')], 'embeddings.', 'backbone.'),
    ('norm.@', 'backbone.ln1.@'),
    *_inside([('norm1.@', 'ln1.@'), ('attention.qkv.@', 'attn.qkv.@'),
              ('attention.o_proj.@', 'attn.proj.@'), ('norm2.@', 'ln2.@'),
              ('mlp.up_proj.@', 'ffn.layers.0.0.@'), ('mlp.down_proj.@', 'ffn.layers.1.@'), *GATED,
              *zip(('layer_scale1.lambda1', 'layer_scale2.lambda1'), SCALES, strict=True)],
             'layer.#.', 'backbone.layers.#.'),
]


def _distillation(naming: str) -> list[tuple[str, str]]:
    weight = 'head.last_layer.parametrizations.weight.original'
    network = [
        *_inside(ENCODER, 'backbone.', 'backbone.'),
        *_inside([*BLOCK, *zip(('gamma_1', 'gamma_2'), SCALES, strict=True)],
                 'backbone.blocks.#.', 'backbone.layers.#.'),
        ('head.mlp.#.@', 'head.mlp.#.@'),
        # Gain and direction of the weight norm.
        ('head.last_layer.weight_g', f'{weight}0'), ('head.last_layer.weight_v', f'{weight}1'),
    ]
    rules = [*_inside(network, 'student.', ''), *_inside(network, 'teacher.', 'teacher.'),
             (f'{LOSSES[naming]}.center', 'cls_center.mean')]
    if naming == 'ibot':
        # The teacher sees no masks and has no mask token.
        rules += [('student.backbone.masked_embed', 'backbone.mask_token'),
                  ('ibot_loss.center2', 'patch_center.mean')]
    return rules


RULES = {'mae': _MAE, 'timm': _GATED_TIMM, 'simmim': _SIMMIM,
         **{naming: _distillation(naming) for naming in LOSSES}, 'transformers': _TRANSFORMERS,
         'dinov2': _DINOV2, 'transformers-dinov2': _TRANSFORMERS_DINOV2, 'dinov3': _DINOV3,
         'transformers-dinov3': _TRANSFORMERS_DINOV3, 'timm-dinov3': _TIMM_DINOV3,
         'lightly': _LIGHTLY}

# All entries that take part in encoding: dropping one would change the features.
ENCODES = {
    'mmpretrain': re.compile(r'backbone\.(?!mask_token$)'),
    'simmim': re.compile(r'encoder\.'),
    **dict.fromkeys(('mae', 'timm', 'dinov2'), re.compile(
        r'(cls_token|pos_embed|reg_token|register_tokens|dist_token|rel_pos_bias|patch_embed|blocks'
        r'|norm|norm_pre|fc_norm)(\.|$)')),
    **dict.fromkeys(LOSSES, re.compile(r'(student|teacher)\.backbone\.(?!masked_embed$)')),
    **dict.fromkeys(('dinov3', 'timm-dinov3'), re.compile(
        r'(cls_token|pos_embed|storage_tokens|reg_token|rope\w*|patch_embed|blocks|norm|cls_norm'
        r'|fc_norm)(\.|$)')),
    'transformers-dinov3': re.compile(r'(embeddings|layer|norm)\.(?!mask_token$)'),
    'lightly': re.compile(r'(((student|teacher)_)?backbone\.)?vit\.(?!head\.)'),
    # A pooler is a head, beyond the tokens.
    'transformers': re.compile(r'vit\.(?!pooler\.|embeddings\.mask_token$)'),
    'transformers-dinov2': re.compile(
        r'(embeddings|encoder|layernorm)\.(?!mask_token$)'),
}
