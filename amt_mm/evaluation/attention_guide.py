"""Attention that decides which patches of an image are painted."""

from __future__ import annotations

from pathlib import Path

import torch.nn.functional as F
from torch import Tensor, nn

from amt_mm.errors import InputError
from amt_mm.models.pretrained_vit import pretrained_vit
from amt_mm.saliency import cls_attention, resample


def load_guide(checkpoint: str | Path, like: nn.Module) -> nn.Module:
    """Load an encoder whose attention decides, in the place of the evaluated encoder's own.

    Args:
        checkpoint: Any that evaluation reads; of two networks the teacher.
        like: The evaluated transformer of mmpretrain: the guide sees its images, on its device.

    Raises:
        InputError: It has no [CLS]; and see :func:`~amt_mm.models.pretrained_vit.pretrained_vit`.
    """
    projection = like.patch_embed.projection
    guide = pretrained_vit(Path(checkpoint), projection.in_channels)
    if guide.cls_token is None:
        raise InputError(f'{checkpoint}: has no [CLS] token, whose attention would tell which '
                         'patches to paint: name another encoder')
    return guide.to(projection.weight.device)


def attention_to_patches(vit: nn.Module, images: Tensor, guide: nn.Module | None = None
                         ) -> Tensor:
    """Return the attention to each patch, ``(B, N)``.

    It is that of [CLS] in the last block, mean over heads. A guide sees the images at the size of
    its own pre-training, normalised as for the evaluated encoder. Where it has another number of
    patches, its map is averaged over each patch of that encoder.

    Args:
        vit: The evaluated transformer of mmpretrain.
        images: Normalised, ``(B, C, H, W)``.
        guide: From :func:`load_guide`. Defaults to None: the attention is that of ``vit``.
    """
    if guide is None:
        return cls_attention(vit, images).mean(dim=1)
    height, width = vit.patch_embed.projection.kernel_size
    grid = images.shape[2] // height, images.shape[3] // width
    if tuple(images.shape[2:]) != guide.img_size:
        images = F.interpolate(images, guide.img_size, mode='bicubic', antialias=True)
    attention = cls_attention(guide, images).mean(dim=1)  # (B, n)
    if tuple(guide.patch_resolution) == grid:
        # Averaging an interpolated map would blur it.
        return attention
    maps = attention.unflatten(1, tuple(guide.patch_resolution))
    whole = maps.new_tensor([[0, 0, 1, 1]]).expand(len(maps), -1)
    return resample(maps, whole, grid)
