"""Deviation of patch features from their means, as saliency in place of attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .vit_blocks import block_output, prefix_tokens, select_blocks


def patch_features(vit: nn.Module, images: Tensor) -> Tensor:
    """Compute the last block's output for every patch, before any final norm.

    Args:
        vit: See :func:`~amt_mm.saliency.cls_attention`.
        images: Normalised images, ``(B, C, H, W)``.

    Returns:
        ``(B, N, D)`` fp32, without gradient.
    """
    return block_output(vit, select_blocks(vit)[0], images)[:, prefix_tokens(vit):].float()


def feature_deviation(features: Tensor, position_mean: Tensor) -> Tensor:
    """Compute the norm of each feature, less the mean of its position, less the rest's image mean.

    Args:
        features: ``(B, N, D)``.
        position_mean: Mean feature of each position over the data set, ``(N, D)``.

    Returns:
        ``(B, N)``.
    """
    rest = features - position_mean
    return torch.linalg.vector_norm(rest - rest.mean(dim=1, keepdim=True), dim=2)
