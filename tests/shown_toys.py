"""Three images and a tiny transformer, on 5 x 7 patches of 8 pixels."""

import torch
from mmpretrain.models import ClsDataPreprocessor, VisionTransformer

from amt_mm.visualization.shown import Shown

GRID, PATCH, HEADS, WIDTH, BLOCKS = (5, 7), 8, 3, 24, 2
ARCH = dict(embed_dims=WIDTH, num_layers=BLOCKS, num_heads=HEADS, feedforward_channels=32)


def toy_shown(with_cls_token=True, vit=None):
    torch.manual_seed(0)
    if vit is None:
        vit = VisionTransformer(ARCH, img_size=(40, 56), patch_size=PATCH, out_type='raw',
                                with_cls_token=with_cls_token)
        with torch.no_grad():
            for parameter in vit.parameters():
                scale = .5 if parameter.ndim == 1 else 1.5 / parameter[0].numel()**.5
                parameter.add_(torch.randn_like(parameter) * scale)
    preprocessor = ClsDataPreprocessor(mean=[120, 110, 100], std=[60, 50, 40])
    vit.eval()  # mmpretrain's returns nothing
    return Shown(torch.randn(3, 3, 40, 56), ['a.jpg', '<b>.jpg', 'c.jpg'], preprocessor,
                 tuple(vit.patch_resolution), vit, with_cls_token)
