"""MaskFeat with a plain ViT as a host: encoder, HOG target and algorithm that follow a MaskPlan.

Each class is mmpretrain's own with one or two methods changed, under the same parameter
names, so checkpoints go both ways. Thrown tokens are taken out before the first block and
never embedded; features are predicted for masked tokens only.
"""

from __future__ import annotations

import math

import torch
from mmpretrain.models import HOGGenerator, MaskFeatViT
from torch import Tensor
from torch.nn import functional as F

from amt_mm.errors import InputError
from amt_mm.masking import MaskPlan, take_tokens
from amt_mm.registry import MODELS

from .host import Host, HostViT, embed_patches, follow_backbone


@MODELS.register_module()
class AMTMaskFeatViT(HostViT, MaskFeatViT):
    """MaskFeat's encoder on the masked and visible tokens of a plan; any grid.

    No loss reads the output of [CLS], here as in the original: its attention in the last
    block, which is the saliency, learns by the weights that it shares with the patches.

    Args:
        img_size: Height and width of the crops in pixels, one number for a square.
        patch_size: Side of a patch in pixels.
        **kwargs: ``with_cp``, see :class:`~amt_mm.models.HostViT`, and what
            :class:`mmpretrain.models.MaskFeatViT` takes.

    Raises:
        InputError: The patch does not divide the image.
    """

    def encode(self, patches: Tensor, plan: MaskPlan) -> Tensor:
        """Encode visible tokens together with mask tokens at the masked positions.

        Args:
            patches: Pixels of all patches, ``(B, N, P * P * C)``; visible ones are read.
            plan: Which token is which.

        Returns:
            The masked tokens in the plan's order, ``(B, n_masked, D)``: no loss reads the
            others after the last block.
        """
        visible = embed_patches(self.patch_embed.projection, take_tokens(patches, plan.visible))
        masked = self.mask_token.expand(*plan.masked.shape, -1)
        cls_token = self.cls_token.expand(len(visible), -1, -1)
        positions = torch.cat([torch.zeros_like(plan.visible[:, :1]),
                               plan.visible + 1, plan.masked + 1], dim=1)
        tokens = torch.cat([cls_token, visible, masked], dim=1) + F.embedding(
            positions, self.pos_embed[0])
        tokens = self.drop_after_pos(tokens)  # (B, 1 + n_visible + n_masked, D)
        *layers, last = self.layers
        for layer in layers:
            tokens = layer(tokens)
        tokens = last(tokens, plan.masked.shape[1])
        return self.ln1(tokens) if self.final_norm else tokens


@MODELS.register_module()
class AMTHOGGenerator(HOGGenerator):
    """mmpretrain's histograms of oriented gradients, for any grid of patches.

    The parent groups its cells into 14 x 14 patches and weighs gradients by windows that
    must tile a square. Here the cells are grouped by the size of a patch, and images are
    extended to a square of whole windows first: by one reflected pixel, which is what the
    gradient at the border reads, then by zeros, which reach no cell that is kept.

    A patch's target reads the patch and the ring of one pixel around it (the reach of the
    3 x 3 gradient), nothing further: each cell is normalised by itself.

    Args:
        patch_size: Side of a patch in pixels.
        nbins: Orientations. Defaults to 9, MaskFeat's.
        pool: Side of a cell in pixels. Defaults to 8, MaskFeat's.
        gaussian_window: Side of the window that weighs gradients, 0 for none. Defaults to
            16, MaskFeat's.

    Raises:
        InputError: The cell does not divide the patch.
    """

    def __init__(self, patch_size: int = 16, nbins: int = 9, pool: int = 8,
                 gaussian_window: int = 16) -> None:
        if patch_size % pool:
            raise InputError(f'model.target_generator.pool={pool} does not divide '
                             f'patch_size={patch_size}: a patch must hold whole cells')
        super().__init__(nbins=nbins, pool=pool, gaussian_window=gaussian_window)
        self.patch_size = patch_size
        self.cells = patch_size // pool

    @property
    def channels(self) -> int:
        """Numbers a patch: 3 colours, ``nbins`` orientations, each in ``cells ** 2`` cells."""
        return 3 * self.nbins * self.cells**2

    def forward(self, images: Tensor) -> Tensor:
        """HOG of every patch, in fp32 and without gradient.

        Args:
            images: Normalised crops, ``(B, 3, H, W)``, sides divisible by ``patch_size``.

        Returns:
            ``(B, N, channels)``, in mmpretrain's order (colour, orientation, row, column).
        """
        height, width = images.shape[-2:]
        step = math.lcm(self.gaussian_window or 1, self.pool)
        side = math.ceil(max(height, width) / step) * step
        below, right = side - height, side - width
        # In half precision, orientations would fall into the neighbouring bin.
        with torch.autocast(images.device.type, enabled=False):
            images = F.pad(images.float(), (0, min(right, 1), 0, min(below, 1)), mode='reflect')
            images = F.pad(images, (0, right - min(right, 1), 0, below - min(below, 1)))
            hog = super().forward(images)  # (B, 3 * nbins, side / pool, side / pool)
        hog = hog[:, :, :height // self.pool, :width // self.pool]
        return F.pixel_unshuffle(hog, self.cells).flatten(2).transpose(1, 2)

    def _reshape(self, hog_feat: Tensor) -> Tensor:
        """Leave the cells where they are: the parent would cut them into 14 x 14."""
        return hog_feat.flatten(1, 2)


@MODELS.register_module()
class AMTMaskFeat(Host):
    """MaskFeat that masks and throws as a plan says (Wei et al. 2022; Liu et al. 2023).

    The paper of AMT names MaskFeat as a host but has no figure for it. With nothing thrown,
    loss and gradients are MaskFeat's (for a neck without batch norm, as MaskFeat's is: one
    with it would take its statistics from the masked tokens alone).

    The encoder never sees a thrown pixel, the prediction neither. The target of a masked
    patch may: see :class:`AMTHOGGenerator` for the one pixel that it reads beyond its patch.

    Args:
        backbone: Config of :class:`AMTMaskFeatViT`.
        neck: Config of :class:`mmpretrain.models.LinearNeck`. ``in_channels`` and
            ``out_channels`` follow backbone and target where absent.
        target_generator: Config of :class:`AMTHOGGenerator`. ``patch_size`` follows the
            backbone where absent.
        **kwargs: ``head`` and more, see :class:`mmpretrain.models.MaskFeat`.

    Raises:
        InputError: A size that contradicts the backbone or the target.
    """

    def __init__(self, backbone: dict, neck: dict, target_generator: dict, **kwargs) -> None:
        backbone = MODELS.build(backbone)
        target_generator = MODELS.build(follow_backbone(
            'target_generator', target_generator, patch_size=backbone.patch_size))
        neck = follow_backbone('neck', neck, in_channels=backbone.embed_dims,
                               out_channels=target_generator.channels)
        super().__init__(backbone=backbone, neck=MODELS.build(neck),
                         target_generator=target_generator, **kwargs)

    def predict(self, tokens: Tensor, plan: MaskPlan) -> Tensor:
        """Features of the masked patches, by one linear layer, ``(B, n_masked, channels)``."""
        return self.neck(tokens.flatten(0, 1))[0].unflatten(0, tokens.shape[:2])

    def target(self, inputs: Tensor, patches: Tensor, plan: MaskPlan) -> Tensor:
        """HOG of the masked patches, ``(B, n_masked, channels)``."""
        return take_tokens(self.target_generator(inputs), plan.masked)
