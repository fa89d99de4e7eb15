"""LastBlocksViT: [CLS] of the last blocks, the feature of DINO's and iBOT's linear evaluation."""

from __future__ import annotations

import torch
from torch import Tensor

from amt_mm.errors import InputError
from amt_mm.registry import MODELS

from .register_vit import RegisterViT


@MODELS.register_module()
class LastBlocksViT(RegisterViT):
    """Vision transformer whose feature is the concatenated [CLS] of its last blocks.

    The final norm is applied to each block's [CLS], as in the linear evaluation of DINO, iBOT and
    AttMask; mmpretrain's ``out_indices`` apply it to the last block only.

    Args:
        *args: See :class:`~amt_mm.models.RegisterViT`.
        last_blocks: Number of blocks. Defaults to 4, as theirs for ViT-S; 1 for larger ones.
        **kwargs: As ``*args``; ``out_type`` and ``final_norm`` are fixed.

    Attributes:
        feature_dims: Width of the feature.

    Raises:
        InputError: The transformer has fewer blocks, or no [CLS].
    """

    def __init__(self, *args, last_blocks: int = 4, **kwargs) -> None:
        if not kwargs.get('with_cls_token', True):
            raise InputError('this protocol reads [CLS] of the last blocks, and the encoder has no '
                             '[CLS]: use --protocols linear, linear-sweep or attentive')
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
            One feature per image, ``(B, last_blocks * D)``, earliest block first.
        """
        *earlier, last = super().forward(images)  # (B, D) each, the last one normalised
        return (torch.cat([*map(self.ln1, earlier), last], dim=-1), )
