"""LastBlocksViT: [CLS] of the last blocks, on which DINO and iBOT probe small encoders."""

from __future__ import annotations

import torch
from mmpretrain.models import VisionTransformer
from torch import Tensor

from amt_mm.errors import InputError
from amt_mm.registry import MODELS


@MODELS.register_module()
class LastBlocksViT(VisionTransformer):
    """Vision transformer whose feature is [CLS] of its last blocks, concatenated.

    Each block's [CLS] goes through the final norm, as in the linear evaluation of DINO, iBOT
    and AttMask; mmpretrain's ``out_indices`` norm that of the last block alone.

    Args:
        *args: See :class:`mmpretrain.models.VisionTransformer`.
        last_blocks: How many. Defaults to 4, theirs for ViT-S; they take 1 for larger ones.
        **kwargs: As ``*args``; what the output is, is decided here.

    Attributes:
        feature_dims: Width of the feature.

    Raises:
        InputError: There are not as many blocks.
    """

    def __init__(self, *args, last_blocks: int = 4, **kwargs) -> None:
        super().__init__(*args, **{**kwargs, 'out_type': 'cls_token', 'final_norm': True})
        depth = len(self.layers)
        if not 1 <= last_blocks <= depth:
            raise InputError(f'model.backbone.last_blocks={last_blocks}: the transformer has '
                             f'{depth} blocks')
        self.out_indices = list(range(depth - last_blocks, depth))
        self.feature_dims = last_blocks * self.embed_dims

    def forward(self, images: Tensor) -> tuple[Tensor]:
        """Encode images.

        Args:
            images: ``(B, C, H, W)``.

        Returns:
            One feature an image, ``(B, last_blocks * D)``, of the earliest block first.
        """
        *earlier, last = super().forward(images)  # (B, D) each, the last one normed
        return (torch.cat([*map(self.ln1, earlier), last], dim=-1), )
