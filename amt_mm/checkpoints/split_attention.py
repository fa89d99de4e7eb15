"""Query, key and value of transformers' attention, which have one matrix each there."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from amt_mm.errors import InputError

_JOINED = re.compile(r'(.*\.attention\.attention)\.qkv\.(weight|bias)')
_PREFIX = re.compile(r'(vit|dinov2|dinov2_with_registers)\.')
_SPLIT = ('query', 'key', 'value')


def with_prefix(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Give the encoder's entries in a file of transformers one prefix.

    Files of models with a head have one, such as ``dinov2.``, those of the encoder alone have none.
    """
    former = next((match[0] for key in state if (match := _PREFIX.match(key))), '')
    # Release 5 renames the decoder's layers in saving.
    return {prefix + key.removeprefix(former) if key.startswith(former) else
            key.replace('.decoder_encoder.layer.', '.decoder_layers.'): value
            for key, value in state.items()}


def join_attention(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join query, key and value of transformers."""
    joined = {}
    for key, value in state.items():
        attention, part, kind = [*key.rsplit('.', 2), '', ''][:3]
        if not attention.endswith('.attention.attention') or part not in _SPLIT:
            joined[key] = value
        elif f'{attention}.qkv.{kind}' not in joined:
            parts = [state.get(f'{attention}.{name}.{kind}') for name in _SPLIT]
            if any(part is None for part in parts):
                raise InputError(f'`{key}` is incomplete: query, key and value belong together')
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
