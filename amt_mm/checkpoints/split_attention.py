"""Query, key and value of transformers' attention, which have one matrix each there."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from amt_mm.errors import InputError

_JOINED = re.compile(r'(.*\.attention\.attention)\.qkv\.(weight|bias)')
_SPLIT = ('query', 'key', 'value')


def join_attention(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join query, key and value of transformers, under the names of ViTForImageClassification."""
    # ViTModel's own files have no prefix; release 5 renames the decoder's layers in saving.
    prefix = '' if any(key.startswith('vit.') for key in state) else 'vit.'
    state = {prefix + key.replace('.decoder_encoder.layer.', '.decoder_layers.'): value
             for key, value in state.items()}
    joined = {}
    for key, value in state.items():
        attention, part, kind = [*key.rsplit('.', 2), '', ''][:3]
        if not attention.endswith('.attention.attention') or part not in _SPLIT:
            joined[key] = value
        elif f'{attention}.qkv.{kind}' not in joined:
            parts = [state.get(f'{attention}.{name}.{kind}') for name in _SPLIT]
            if any(part is None for part in parts):
                raise InputError(f'`{key}` without its query, key and value beside it')
            joined[f'{attention}.qkv.{kind}'] = torch.cat(parts)
    return joined


def split_attention(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reverse of :func:`join_attention`."""
    split = {}
    for key, value in state.items():
        if match := _JOINED.fullmatch(key):
            for name, part in zip(_SPLIT, value.chunk(3), strict=True):
                split[f'{match[1]}.{name}.{match[2]}'] = part
        else:
            split[key] = value
    return split
