"""Gated MLPs (SwiGLU): one name for their layers, which other code bases split or name as plain."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

# Naming -> layers whose outputs are gate and gated values, and the last layer. Here, the first are
# one layer, `w12`, and the last one is `w3`, as in DINOv2's files.
_LAYERS = {'timm': (('fc1', ), 'fc2'), 'timm-dinov3': (('fc1_g', 'fc1_x'), 'fc2'),
           'dinov3': (('w1', 'w2'), 'w3'),
           'transformers-dinov3': (('gate_proj', 'up_proj'), 'down_proj')}


def join_gated(state: Mapping[str, Tensor], naming: str) -> dict[str, Tensor]:
    """Name the layers of gated MLPs ``w12`` and ``w3``; plain MLPs keep their names.

    The first layers of a gated MLP have twice as many outputs as the last one has inputs.
    """
    joined, (first, last) = dict(state), _LAYERS.get(naming, ((), ''))
    for key in state:
        match = re.fullmatch(rf'(.*\.\d+\.mlp\.){last}\.weight', key)
        halves = [f'{match[1]}{name}' for name in first] if match else []
        if not halves or any(f'{half}.weight' not in state for half in halves) or 2 * state[
                key].shape[1] != sum(len(state[f'{half}.weight']) for half in halves):
            continue
        for kind in ('weight', 'bias'):
            if f'{match[1]}{last}.{kind}' in state:
                joined[f'{match[1]}w12.{kind}'] = torch.cat(
                    [joined.pop(f'{half}.{kind}') for half in halves])
                joined[f'{match[1]}w3.{kind}'] = joined.pop(f'{match[1]}{last}.{kind}')
    return joined


def split_gated(state: Mapping[str, Tensor], naming: str) -> dict[str, Tensor]:
    """The reverse of :func:`join_gated`."""
    if naming not in _LAYERS:
        return dict(state)
    split, (first, last) = {}, _LAYERS[naming]
    for key, value in state.items():
        match = re.fullmatch(r'(.*\.\d+\.mlp\.)(w12|w3)\.(weight|bias)', key)
        names = () if not match else (last, ) if match[2] == 'w3' else first
        parts = zip(names, value.chunk(len(names)), strict=True) if names else ()
        split.update({f'{match[1]}{name}.{match[3]}': part for name, part in parts}
                     if names else {key: value})
    return split
