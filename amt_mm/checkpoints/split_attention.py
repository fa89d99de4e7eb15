"""Query, key and value of transformers' attention, which have one matrix each there."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from amt_mm.errors import InputError

_PREFIX = re.compile(r'(vit|dinov2|dinov2_with_registers|model)\.')
# Attention in a block -> its projections. DINOv3's has no bias for keys.
_SPLIT = {'attention.attention': ('query', 'key', 'value'),
          'attention': ('q_proj', 'k_proj', 'v_proj')}
_PART = re.compile(r'(.*\.\d+\.)(attention(?:\.attention)?)\.(\w+)\.(weight|bias)')
_WITHOUT_BIAS = 'k_proj'


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
    """Join query, key and value of transformers; a missing bias of DINOv3's keys becomes zeros."""
    joined = {}
    for key, value in state.items():
        match = _PART.fullmatch(key)
        if not match or match[3] not in _SPLIT[match[2]]:
            joined[key] = value
        elif (name := f'{match[1]}{match[2]}.qkv.{match[4]}') not in joined:
            parts = {part: state.get(f'{match[1]}{match[2]}.{part}.{match[4]}')
                     for part in _SPLIT[match[2]]}
            if match[4] == 'bias' and parts.get(_WITHOUT_BIAS, value) is None:
                parts[_WITHOUT_BIAS] = torch.zeros_like(value)
            if any(part is None for part in parts.values()):
                raise InputError(f'`{key}` is incomplete: query, key and value belong together')
            joined[name] = torch.cat(list(parts.values()))
    return joined


def split_attention(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reverse of :func:`join_attention`."""
    split = {}
    for key, value in state.items():
        match = _PART.fullmatch(key)
        if not match or match[3] != 'qkv':
            split[key] = value
            continue
        for name, part in zip(_SPLIT[match[2]], value.chunk(3), strict=True):
            if not (name == _WITHOUT_BIAS and match[4] == 'bias' and not part.any()):
                split[f'{match[1]}{match[2]}.{name}.{match[4]}'] = part
    return split
