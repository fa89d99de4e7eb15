"""How far the features of a patch are from what is common, in place of attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .vit_blocks import chosen_blocks, output_of


def patch_features(vit: nn.Module, images: Tensor) -> Tensor:
    """What the last block gives for every patch, before any final norm.

    Args:
        vit: See :func:`~amt_mm.saliency.cls_attention`.
        images: Normalised images, ``(B, C, H, W)``.

    Returns:
        ``(B, N, D)`` fp32, without gradient.
    """
    return output_of(vit, chosen_blocks(vit)[0], images)[:, 1:].float()


def feature_deviation(features: Tensor, position_mean: Tensor) -> Tensor:
    """Norm of what is left of each feature without its position and its image.

    The mean over images at each position is taken off first, then the mean over the
    positions of the image.

    Args:
        features: ``(B, N, D)``.
        position_mean: Mean feature of each position over the data set, ``(N, D)``.

    Returns:
        ``(B, N)``.
    """
    left = features - position_mean
    return torch.linalg.vector_norm(left - left.mean(dim=1, keepdim=True), dim=2)
