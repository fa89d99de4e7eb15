"""Names of the entries of one network in nine code bases: detect and convert them.

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

All tensors have the same layout, so values are copied bit by bit (transformers has one each for
query, key and value, which are joined), except two of SimMIM: its query
and value biases correspond to mmpretrain's joint bias (zero for keys), and AMT's release has a
scale that it never applies (see :func:`convert`). Patch vectors are (row, column, channel) in MAE
and here; SimMIM's convolution has (channel, row, column), which ``AMTSimMIMDecoder`` permutes in
its forward.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from amt_mm.errors import InputError
from amt_mm.names import NAMINGS

from .distillation import LOSSES, detect_distillation, reshaped, usable_part, with_copies
from .encoders import choose_encoder
from .split_attention import join_attention, split_attention, with_prefix

# Pairs of their and our names; `#` is a number, `@` weight or bias.
ENCODER = (
    ('cls_token', 'cls_token'), ('pos_embed', 'pos_embed'),
    ('patch_embed.proj.@', 'patch_embed.projection.@'), ('norm_pre.@', 'pre_norm.@'),
    ('norm.@', 'ln1.@'), ('fc_norm.@', 'ln2.@'),
)  # yapf: disable
BLOCK = (
    ('norm1.@', 'ln1.@'), ('attn.qkv.@', 'attn.qkv.@'), ('attn.proj.@', 'attn.proj.@'),
    ('norm2.@', 'ln2.@'), ('mlp.fc1.@', 'ffn.layers.0.0.@'), ('mlp.fc2.@', 'ffn.layers.1.@'),
)  # yapf: disable
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
_DINOV2 = [('mask_token', 'backbone.mask_token'),
           ('register_tokens', 'backbone.pre_norm.tokens'), *_TIMM]
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
              *zip(('layer_scale1.lambda1', 'layer_scale2.lambda1'), SCALES, strict=True)],
             'encoder.layer.#.', 'backbone.layers.#.'),
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


RULES = {'mae': _MAE, 'timm': _TIMM, 'simmim': _SIMMIM,
         **{naming: _distillation(naming) for naming in LOSSES}, 'transformers': _TRANSFORMERS,
         'dinov2': _DINOV2, 'transformers-dinov2': _TRANSFORMERS_DINOV2}

# All entries that take part in encoding: dropping one would change the features.
_ENCODES = {
    'mmpretrain': re.compile(r'backbone\.(?!mask_token$)'),
    'simmim': re.compile(r'encoder\.'),
    **dict.fromkeys(('mae', 'timm', 'dinov2'), re.compile(
        r'(cls_token|pos_embed|reg_token|register_tokens|dist_token|rel_pos_bias|patch_embed|blocks'
        r'|norm|norm_pre|fc_norm)(\.|$)')),
    **dict.fromkeys(LOSSES, re.compile(r'(student|teacher)\.backbone\.(?!masked_embed$)')),
    # A pooler is a head, beyond the tokens.
    'transformers': re.compile(r'vit\.(?!pooler\.|embeddings\.mask_token$)'),
    'transformers-dinov2': re.compile(
        r'(embeddings|encoder|layernorm)\.(?!mask_token$)'),
}  # yapf: disable


class Conversion(NamedTuple):
    """Converted weights.

    Attributes:
        state: New name -> tensor.
        naming: The former naming.
        left_out: Former names of entries that have no counterpart.
        notes: Further remarks, one sentence each.
    """

    state: dict[str, Tensor]
    naming: str
    left_out: list[str]
    notes: list[str]


def detect_naming(state: Iterable[str]) -> str | None:
    """Detect the naming of a state dict.

    Returns:
        One of ``NAMINGS``, or None for another kind of network.
    """
    names = list(state)
    if (distillation := detect_distillation(names)) is not None:
        return distillation
    if any(re.match(r'backbone\.|layers\.\d+\.ln1\.', name) for name in names):
        return 'mmpretrain'
    if any(re.match(r'encoder\.(blocks\.\d+|patch_embed)\.', name) for name in names):
        return 'simmim'
    if any(re.match(r'((vit|dinov2\w*)\.)?(embeddings\.patch_embeddings|encoder\.layer\.\d+)\.',
                    name) for name in names):
        scaled = any('.layer_scale1.' in name for name in names)
        return 'transformers-dinov2' if scaled else 'transformers'
    if any(re.match(r'blocks\.\d+\.|patch_embed\.proj\.', name) for name in names):
        if 'register_tokens' in names or (
                'mask_token' in names and 'blocks.0.ls1.gamma' in names):
            return 'dinov2'
        return 'mae' if any(re.match(r'decoder_|mask_token$', name) for name in names) else 'timm'
    return None


def convert(state: Mapping[str, Tensor], to: str, encoder_only: bool = False,
            encoder: str | None = None) -> Conversion:
    """Rename the entries of a state dict for another code base.

    A round trip restores names and bits of all that both have, but for two values of SimMIM. It
    has no bias for keys, which softmax cancels: converting to SimMIM drops it, from SimMIM it is
    zero. AMT's release never applies its scale of the attention branch (``gamma_1``), which still
    has its initial value; it is set to 1, as the release computes.

    Between namings with student and teacher (mmpretrain, ibot, dino) both are converted, unless
    one is chosen; the others get one.

    Args:
        state: Name -> tensor in any known naming; ``backbone.`` may be missing in mmpretrain's.
        to: One of ``NAMINGS``.
        encoder_only: Drop decoder and head.
        encoder: ``'teacher'`` or ``'student'``, see :func:`~amt_mm.checkpoints.choose_encoder`.
            Defaults to None: both if possible, else the teacher.

    Raises:
        InputError: Unknown naming, an encoder with parts that plain vision transformers lack, or
            no such ``encoder``.
    """
    naming = detect_naming(state)
    if naming is None:
        raise InputError(f'entries such as `{min(state, default="")}` have no known naming '
                         f'({", ".join(NAMINGS)}): is it a vision transformer?')
    if naming == 'mmpretrain' and not any(key.startswith('backbone.') for key in state):
        state = {f'backbone.{key}': value for key, value in state.items()}
    if to == naming and not encoder_only and encoder is None:
        return Conversion(dict(state), naming, [], [])
    notes: list[str] = []
    ours, former, left_out = _to_ours(state, naming, notes)
    if encoder_only or encoder is not None or to not in ('mmpretrain', *LOSSES):
        names, chosen = choose_encoder(ours, encoder)
        left_out += [former[key] for key in ours if key not in set(names.values())]
        ours = {new: ours[old] for new, old in names.items()}
        former = {new: former[old] for new, old in names.items()}
        if chosen is not None:
            notes.append(f'of teacher and student, the {chosen} was converted')
    if encoder_only:
        left_out += [former[key] for key in ours if not _ENCODES['mmpretrain'].match(key)]
        ours = {key: value for key, value in ours.items() if _ENCODES['mmpretrain'].match(key)}
    if to == 'mmpretrain':
        return Conversion(ours, naming, left_out, notes)
    theirs, names, lost = rename(ours, [(b, a) for a, b in RULES[to]])
    _require_encoder([key for key in lost if _ENCODES['mmpretrain'].match(key)])
    if to == 'simmim':
        theirs = _split_biases(theirs, notes)
    if to.startswith('transformers'):
        theirs = split_attention(theirs)
    if to in LOSSES:
        theirs = reshaped(with_copies(theirs) if to == 'ibot' else theirs, ours=False)
    return Conversion(theirs, naming, left_out + [former[key] for key in lost], notes)


def _to_ours(state: Mapping[str, Tensor], naming: str, notes: list[str]) -> tuple[dict, dict, list]:
    """Weights under our names, former name of each, and former names without a counterpart."""
    if naming == 'mmpretrain':
        return dict(state), {key: key for key in state}, []
    state, unusable = _join_biases(state), []
    if naming == 'simmim':
        state = _mend_scale(state, notes)
    if naming in LOSSES:
        state, unusable = usable_part(state, notes)
    if naming.startswith('transformers'):
        # Without a head, files have no prefix.
        state = join_attention(with_prefix(state, 'vit.' if naming == 'transformers' else ''))
    ours, former, left_out = rename(state, RULES[naming])
    _require_encoder([key for key in left_out if _ENCODES[naming].match(key)])
    return reshaped(ours, ours=True) if naming in LOSSES else ours, former, unusable + left_out


def _require_encoder(unknown: list[str]) -> None:
    if unknown:
        raise InputError(f'its encoder has {len(unknown)} entries such as `{unknown[0]}` that a '
                         'plain vision transformer lacks; without them it would compute something '
                         'else')


def rename(state: Mapping[str, Tensor], rules: Iterable[tuple[str, str]]
           ) -> tuple[dict[str, Tensor], dict[str, str], list[str]]:
    """Rename entries.

    Args:
        state: Name -> tensor.
        rules: Former and new names; ``#`` stands for a number, ``@`` for weight or bias.

    Returns:
        Renamed weights, new -> former name, and names that no rule matches.
    """
    patterns = [(re.compile(re.escape(old).replace(r'\#', r'(\d+)').replace('@', '(weight|bias)')),
                 # The number precedes weight or bias in both names, so groups keep their order.
                 new.replace('#', r'\1').replace('@', r'\2' if '#' in new else r'\1'))
                for old, new in rules]
    renamed, former, unknown = {}, {}, []
    for key, value in state.items():
        name = next((match.expand(template) for pattern, template in patterns
                     if (match := pattern.fullmatch(key))), None)
        if name is None:
            unknown.append(key)
        else:
            renamed[name], former[name] = value, key
    return renamed, former, unknown


def _join_biases(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join separate query and value biases (BEiT, SimMIM) with a zero bias for keys."""
    joined = {}
    for key, value in state.items():
        if key.endswith('.attn.q_bias'):
            after = state.get(f'{key[:-6]}v_bias')
            if after is None:
                raise InputError(f'`{key}` without its v_bias')
            joined[f'{key[:-6]}qkv.bias'] = torch.cat([value, torch.zeros_like(value), after])
        elif not key.endswith('.attn.v_bias'):
            joined[key] = value
    return joined


def _split_biases(state: Mapping[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """The reverse of :func:`_join_biases`."""
    split, lost = {}, False
    for key, value in state.items():
        if key.endswith('.attn.qkv.bias'):
            query, of_keys, after = value.chunk(3)
            split[f'{key[:-8]}q_bias'], split[f'{key[:-8]}v_bias'] = query, after
            lost |= bool(of_keys.any())
        else:
            split[key] = value
    if lost:
        notes.append('the biases of the keys are dropped: SimMIM has none, and attention does '
                     'not depend on them')
    return split


def _mend_scale(state: Mapping[str, Tensor], notes: list[str]) -> dict[str, Tensor]:
    """Set the attention branch's scale to the 1 that AMT's release computes with."""
    scales = {key: value for key, value in state.items() if key.endswith('.gamma_1')}
    values = {number for value in scales.values() for number in value.unique().tolist()}
    if len(values) != 1 or values == {1.}:
        return dict(state)
    notes.append(f'gamma_1 is {values.pop():g} everywhere: AMT\'s release neither trains nor '
                 'applies it, so it is set to 1')
    return {key: torch.ones_like(value) if key in scales else value
            for key, value in state.items()}
