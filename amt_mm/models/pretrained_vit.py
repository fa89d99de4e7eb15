"""A vision transformer from a checkpoint, to look at images with."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from amt_mm.checkpoints.describe import describe
from amt_mm.checkpoints.load_backbone import load_backbone
from amt_mm.errors import InputError
from amt_mm.registry import MODELS

# Side in pixels where a checkpoint does not tell its own.
_SIZE = 224


def pretrained_vit(checkpoint: Path, channels: int = 3, encoder: str | None = None,
                   image_size: tuple[int, int] | None = None) -> nn.Module:
    """Build a vision transformer and load it; its parameters are frozen.

    Args:
        checkpoint: Any that evaluation reads, see :func:`amt_mm.checkpoints.describe.describe`.
        channels: Of the images that it will see. Defaults to 3.
        encoder: ``'teacher'`` or ``'student'`` of a checkpoint that has both. Defaults to None: the
            teacher.
        image_size: Height and width of these images. Defaults to None: those of its pre-training,
            or 224 pixels where the file does not tell.

    Returns:
        An :class:`~amt_mm.models.RegisterViT` that returns all tokens, on the CPU, in evaluation
        mode.

    Raises:
        InputError: No such checkpoint, one that is not a vision transformer, one of other
            channels, or sides that are not multiples of its patch.
    """
    found = describe(checkpoint, encoder)
    own = found.backbone.get('patch_cfg', {}).get('in_channels', 3)
    if own != channels:
        raise InputError(f'{checkpoint}: the encoder takes {own} channels, the images have '
                         f'{channels}')
    size = image_size or (found.image_size or _SIZE, ) * 2
    patch = found.backbone['patch_size']
    if any(side % patch for side in size):
        raise InputError(f'image_size={"x".join(map(str, size))} is not a multiple of the patch '
                         f'of {checkpoint}, {patch} pixels')
    vit = MODELS.build(dict(type='amt_mm.RegisterViT', img_size=size, out_type='raw',
                            **found.backbone))
    load_backbone(nn.ModuleDict(dict(backbone=vit)), checkpoint, encoder)
    vit.patch_size = patch
    vit.eval()  # mmpretrain's returns nothing
    return vit.requires_grad_(False)
