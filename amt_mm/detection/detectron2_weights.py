"""Weights of detectron2's ViTDet under the names of our detectors."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from amt_mm.checkpoints import read_checkpoint
from amt_mm.checkpoints.convert_names import rename
from amt_mm.checkpoints.naming_rules import BLOCK
from amt_mm.checkpoints.numpy_pickle import read_numpy_pickle
from amt_mm.errors import InputError

# log2 of a level's stride in the pyramid -> place of its 1x1 convolution, in both.
_PYRAMID = {2: 4, 3: 1, 4: 0, 5: 1}
_STAGES = 3
# Fixed numbers, which the config has here.
_FIXED = re.compile(r'pixel_(mean|std)|proposal_generator\.anchor_generator\.cell_anchors\.\d+')


def read_detectron2(path: Path) -> dict[str, Tensor]:
    """Read the weights of a detectron2 model, as data.

    Args:
        path: ``.pkl`` of its model zoo (numpy arrays), or ``.pth`` of its trainer.

    Returns:
        Name -> tensor.

    Raises:
        InputError: The file cannot be read, or holds no weights under ``model``.
    """
    if path.suffix != '.pkl':
        return read_checkpoint(path).state
    content = read_numpy_pickle(path)
    state = content.get('model') if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(
            isinstance(value, np.ndarray) for value in state.values()):
        raise InputError(f'{path}: has no arrays under `model`, as files of detectron2 have')
    return {name: torch.from_numpy(value.copy()) for name, value in state.items()}


def from_detectron2(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the weights of a detectron2 ViTDet: Mask R-CNN, or its cascade.

    Values stay as they are; the position of [CLS], which detectron2 never reads, is dropped. The
    one mask head of a cascade becomes the three of mmdet, whose mean over equal ones is the same.

    Args:
        state: Name -> tensor, see :func:`read_detectron2`.

    Returns:
        The entries of the detectors of ``configs/mmdet``.

    Raises:
        InputError: It is not a ViTDet, or has an entry that has no counterpart.
    """
    if not any(name.startswith('backbone.net.blocks.') for name in state):
        raise InputError(f'entries such as `{min(state, default="")}` are not of a ViTDet of '
                         'detectron2, whose blocks are `backbone.net.blocks.0` and so on')
    cascade = 'roi_heads.box_predictor.0.cls_score.weight' in state
    renamed, _, unknown = rename(state, list(_rules(cascade)))
    unknown = [name for name in unknown if not _FIXED.fullmatch(name)]
    if unknown:
        raise InputError(f'{len(unknown)} entries such as `{unknown[0]}` have no counterpart in '
                         'the detectors of configs/mmdet')
    positions = renamed.get('backbone.pos_embed')
    if positions is not None and math.isqrt(positions.shape[1])**2 != positions.shape[1]:
        renamed['backbone.pos_embed'] = positions[:, 1:]
    if cascade:
        for name in [name for name in renamed if name.startswith('roi_head.mask_head.')]:
            value = renamed.pop(name)
            renamed.update({name.replace('mask_head', f'mask_head.{stage}'): value.clone()
                            for stage in range(_STAGES)})
    return renamed


def _rules(cascade: bool) -> Iterator[tuple[str, str]]:
    """Yield pairs of their and our names; ``#`` is a number, ``@`` weight or bias."""
    yield 'backbone.net.pos_embed', 'backbone.pos_embed'
    yield 'backbone.net.patch_embed.proj.@', 'backbone.patch_embed.projection.@'
    for theirs, ours in (*BLOCK, *((f'attn.rel_pos_{axis}', ) * 2 for axis in 'hw')):
        yield f'backbone.net.blocks.#.{theirs}', f'backbone.layers.#.{ours}'
    for stage, first in _PYRAMID.items():
        theirs, ours = f'backbone.simfp_{stage}', f'neck.levels.{stage - 2}'
        for place in range(first):
            yield f'{theirs}.{place}.@', f'{ours}.{place}.@'
        # Norms are inside the convolutions there and follow them here.
        for i in (0, 1):
            yield f'{theirs}.{first + i}.weight', f'{ours}.{first + 2 * i}.weight'
            yield f'{theirs}.{first + i}.norm.@', f'{ours}.{first + 2 * i + 1}.@'
    theirs = 'proposal_generator.rpn_head'
    for i in (0, 1):
        yield f'{theirs}.conv.conv{i}.@', f'rpn_head.rpn_conv.{i}.conv.@'
    yield f'{theirs}.objectness_logits.@', 'rpn_head.rpn_cls.@'
    yield f'{theirs}.anchor_deltas.@', 'rpn_head.rpn_reg.@'
    for stage in [f'.{stage}' for stage in range(_STAGES)] if cascade else ['']:
        theirs, ours = f'roi_heads.box_head{stage}', f'roi_head.bbox_head{stage}'
        yield from _convolutions(f'{theirs}.conv', f'{ours}.shared_convs')
        yield f'{theirs}.fc1.@', f'{ours}.shared_fcs.0.@'
        yield f'roi_heads.box_predictor{stage}.cls_score.@', f'{ours}.fc_cls.@'
        yield f'roi_heads.box_predictor{stage}.bbox_pred.@', f'{ours}.fc_reg.@'
    theirs, ours = 'roi_heads.mask_head', 'roi_head.mask_head'
    yield from _convolutions(f'{theirs}.mask_fcn', f'{ours}.convs')
    yield f'{theirs}.deconv.@', f'{ours}.upsample.@'
    yield f'{theirs}.predictor.@', f'{ours}.conv_logits.@'


def _convolutions(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    for i in range(4):
        yield f'{theirs}{i + 1}.weight', f'{ours}.{i}.conv.weight'
        yield f'{theirs}{i + 1}.norm.@', f'{ours}.{i}.ln.@'
