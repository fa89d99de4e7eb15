"""Features of some blocks of a transformer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from amt_mm.errors import InputError

from .features import POOLINGS


def block_indices(vit: nn.Module, blocks: Sequence[int]) -> list[int]:
    """Return the indices of some blocks, from 0, ascending and without repetitions.

    Args:
        vit: A vision transformer of mmpretrain.
        blocks: Indices from 0, or negative ones from the end.

    Raises:
        InputError: There is no such block.
    """
    depth = len(vit.layers)
    for block in blocks:
        if not -depth <= block < depth:
            raise InputError(f'block {block}: the encoder has {depth} blocks, 0 to {depth - 1} '
                             f'or -{depth} to -1')
    return sorted({block % depth for block in blocks})


def block_features(vit: nn.Module, images: Tensor, tokens: str) -> Tensor:
    """Encode images, and join the features of the blocks in ``vit.out_indices``.

    The final norm is applied to each block, as in the evaluation of DINO and iBOT and in timm's
    ``get_intermediate_layers(norm=True)``; mmpretrain applies it to the last one only.

    Args:
        vit: A vision transformer of mmpretrain that returns all tokens (``out_type='raw'``).
        images: Normalised, ``(B, 3, H, W)``.
        tokens: ``'cls'``, ``'mean'`` (of the patch tokens), ``'both'`` ([CLS], then the mean) or
            ``'patches'`` (all patch tokens, row by row).

    Returns:
        fp32, ``(B, F)``, or ``(B, N, F)`` for patches. F is the width times the number of blocks
        (twice that for ``'both'``), earliest block first.
    """
    features, extra = [], int(vit.cls_token is not None)
    for block, found in zip(vit.out_indices, vit(images), strict=True):
        if block < len(vit.layers) - 1:
            found = vit.ln1(found)
        # A half-precision mean over many tokens loses digits.
        found = found.float()  # (B, extra + N, D)
        features += ([found[:, extra:]] if tokens == 'patches' else
                     [POOLINGS[name](found, extra)
                      for name in (('cls', 'mean') if tokens == 'both' else (tokens, ))])
    return torch.cat(features, dim=-1)
