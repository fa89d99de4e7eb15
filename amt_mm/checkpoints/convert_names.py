"""Detect and convert the names of a network's entries; :mod:`.naming_rules` lists them.

All tensors have the same layout, so values are copied bit by bit (transformers has one each for
query, key and value, which are joined), except two of SimMIM: its query and value biases correspond
to mmpretrain's joint bias (zero for keys), and AMT's release has a scale that it never applies (see
:func:`convert`). Patch vectors are (row, column, channel) in MAE
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

from .dinov3 import (
    PERIODS,
    add_masks,
    add_periods,
    apply_masks,
    require_masked,
    require_rotary,
    without_periods,
)
from .distillation import LOSSES, detect_distillation, reshaped, usable_part, with_copies
from .encoders import choose_encoder
from .gated_mlp import join_gated, split_gated
from .naming_rules import ENCODES, RULES
from .split_attention import join_attention, split_attention, with_prefix

# Those of networks with rotary positions.
_DINOV3 = ('dinov3', 'timm-dinov3', 'transformers-dinov3')
# Those whose mask token has two axes.
_FLAT_MASK_TOKEN = ('dinov2', 'transformers-dinov2', 'dinov3')


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
    if any(re.match(r'(((student|teacher)_)?backbone\.)?vit\.(blocks\.\d+|patch_embed)\.', name)
           for name in names):
        return 'lightly'
    if (distillation := detect_distillation(names)) is not None:
        return distillation
    if any(re.match(r'backbone\.|layers\.\d+\.ln1\.', name) for name in names):
        return 'mmpretrain'
    if any(re.match(r'encoder\.(blocks\.\d+|patch_embed)\.', name) for name in names):
        return 'simmim'
    if any(re.match(r'(model\.)*layer\.\d+\.attention\.q_proj\.', name) for name in names):
        return 'transformers-dinov3'
    if any(re.match(r'((vit|dinov2\w*)\.)?(embeddings\.patch_embeddings|encoder\.layer\.\d+)\.',
                    name) for name in names):
        scaled = any('.layer_scale1.' in name for name in names)
        return 'transformers-dinov2' if scaled else 'transformers'
    if any(re.match(r'blocks\.\d+\.|patch_embed\.proj\.', name) for name in names):
        if 'storage_tokens' in names or 'rope_embed.periods' in names:
            return 'dinov3'
        if {'reg_token', 'cls_token', 'blocks.0.gamma_1'} <= {*names} and (
                'pos_embed' not in names):
            return 'timm-dinov3'
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
        InputError: Unknown naming, an encoder with parts that plain vision transformers lack,
            tensors of shapes that do not fit each other, or no such ``encoder``.
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
    try:
        ours, former, left_out = _to_ours(state, naming, notes)
    # Torch's, where tensors that are joined do not fit each other.
    except (RuntimeError, IndexError, TypeError) as error:
        raise InputError('its entries do not have the shapes of a vision transformer '
                         f'({str(error).splitlines()[0]})') from error
    if encoder_only or encoder is not None or to not in ('mmpretrain', *LOSSES):
        names, chosen = choose_encoder(ours, encoder)
        left_out += [former[key] for key in ours if key not in set(names.values())]
        ours = {new: ours[old] for new, old in names.items()}
        former = {new: former[old] for new, old in names.items()}
        if chosen is not None:
            notes.append(f'of teacher and student, the {chosen} was converted')
    if encoder_only:
        left_out += [former[key] for key in ours if not ENCODES['mmpretrain'].match(key)]
        ours = {key: value for key, value in ours.items() if ENCODES['mmpretrain'].match(key)}
    if to == 'mmpretrain':
        return Conversion(ours, naming, left_out, notes)
    if to in _DINOV3:
        require_rotary(ours)
        ours = ours if to == 'dinov3' else without_periods(ours, notes)
    theirs, names, lost = rename(ours, [(b, a) for a, b in RULES[to]])
    _require_encoder([key for key in lost if ENCODES['mmpretrain'].match(key)])
    if to in ('dinov3', 'timm-dinov3'):
        require_masked(theirs)
    if to == 'dinov3':
        theirs = add_masks(theirs)
    if to in ('simmim', 'timm-dinov3'):
        theirs = _split_biases(theirs, notes)
    theirs = split_gated(theirs, to)
    if to.startswith('transformers'):
        theirs = split_attention(theirs)
    if to in _FLAT_MASK_TOKEN:
        theirs = {name: value.reshape(1, -1) if name.endswith('mask_token') else value
                  for name, value in theirs.items()}
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
    if naming == 'dinov3':
        state = apply_masks(state)
    ours, former, left_out = rename(join_gated(state, naming), RULES[naming])
    _require_encoder([key for key in left_out if ENCODES[naming].match(key)])
    if naming in _DINOV3:
        ours = add_periods(ours, notes)
        former.setdefault(PERIODS, PERIODS)
    return reshaped(ours, ours=True), former, unusable + left_out


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
