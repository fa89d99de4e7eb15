"""MaskFeat with a plain ViT as a host: encoder, HOG target and algorithm that follow a MaskPlan.

The classes change mmpretrain's as little as possible and keep its parameter names, so that
checkpoints are interchangeable. Thrown tokens are never embedded or encoded; features are predicted
for masked tokens only.
"""

from __future__ import annotations

import math

import torch
from mmpretrain.models import HOGGenerator, MaskFeatViT, VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from amt_mm.errors import InputError
from amt_mm.masking import MaskPlan, take_tokens
from amt_mm.registry import MODELS

from .blocks import last_tokens
from .host import Host, HostViT, embed_patches, fill_in_sizes, is_pretrained


@MODELS.register_module()
class AMTMaskFeatViT(HostViT, MaskFeatViT):
    """MaskFeat's encoder on the masked and visible tokens of a plan, for any grid.

    As in the original, no loss reads the output of [CLS]: its attention in the last block, the
    saliency, is trained only through the weights that it shares with the patches.

    Args:
        **kwargs: See :class:`~amt_mm.models.HostViT` and :class:`mmpretrain.models.MaskFeatViT`.

    Raises:
        InputError: The image is not a multiple of the patch.
    """

    def init_weights(self) -> None:
        """Initialise as MaskFeat does."""
        if self.pos_embed is not None:
            super().init_weights()
            return
        # The parent's method needs position embeddings.
        VisionTransformer.init_weights(self)
        if not is_pretrained(self):
            for token in (self.cls_token, self.mask_token):
                torch.nn.init.trunc_normal_(token, std=.02)
            self.apply(self._init_weights)

    def encode(self, patches: Tensor, plan: MaskPlan) -> Tensor:
        """Encode visible tokens together with mask tokens at the masked positions.

        Args:
            patches: Pixels of all patches, ``(B, N, P * P * C)``; only visible ones are read.
            plan: The plan of the batch.

        Returns:
            The masked tokens in the plan's order, ``(B, n_masked, D)``; no loss reads the others.
        """
        visible = embed_patches(self.patch_embed.projection, take_tokens(patches, plan.visible))
        masked = self.mask_token.expand(*plan.masked.shape, -1)
        tokens, rotation = self.enter_blocks(
            torch.cat([visible, masked], dim=1), torch.cat([plan.visible, plan.masked], dim=1))
        *layers, last = self.layers
        for layer in layers:
            tokens = layer(tokens, *rotation)
        count = plan.masked.shape[1]
        tokens = last_tokens(last(tokens, *rotation), count) if rotation else last(tokens, count)
        return self.ln1(tokens) if self.final_norm else tokens


@MODELS.register_module()
class AMTHOGGenerator(HOGGenerator):
    """mmpretrain's histograms of oriented gradients (HOG), for any grid of patches.

    The parent class groups cells into 14 x 14 patches and weights gradients by windows that must
    tile a square. Here cells are grouped by the size of a patch, and images are first padded to a
    square of whole windows: by one reflected pixel, which the gradient at the border reads, then by
    zeros, which affect no cell that is kept.

    The target of a patch depends on the patch and the ring of one pixel around it (the reach of the
    3 x 3 gradient), because each cell is normalised by itself.

    Args:
        patch_size: Side of a patch in pixels.
        nbins: Number of orientations. Defaults to 9, as in MaskFeat.
        pool: Side of a cell in pixels. Defaults to 8, as in MaskFeat.
        gaussian_window: Side of the window that weights gradients, 0 for none. Defaults to 16, as
            in MaskFeat.
        in_channels: Number of channels of the images. Defaults to 3.

    Raises:
        InputError: The patch is not a multiple of the cell.
    """

    def __init__(self, patch_size: int = 16, nbins: int = 9, pool: int = 8,
                 gaussian_window: int = 16, in_channels: int = 3) -> None:
        if patch_size % pool:
            raise InputError(f'model.target_generator.pool={pool}: patch_size={patch_size} is not '
                             'a multiple of it; a patch must consist of whole cells')
        super().__init__(nbins=nbins, pool=pool, gaussian_window=gaussian_window)
        self.patch_size = patch_size
        self.in_channels = in_channels
        self.cells = patch_size // pool

    @property
    def channels(self) -> int:
        """Values per patch: ``in_channels`` x ``nbins`` orientations x ``cells ** 2`` cells."""
        return self.in_channels * self.nbins * self.cells**2

    def forward(self, images: Tensor) -> Tensor:
        """Compute the HOG of every patch, in fp32 and without gradient.

        Args:
            images: Normalised crops, ``(B, C, H, W)``, sides multiples of ``patch_size``.

        Returns:
            ``(B, N, channels)``, in mmpretrain's order (channel, orientation, row, column).
        """
        height, width = images.shape[-2:]
        step = math.lcm(self.gaussian_window or 1, self.pool)
        side = math.ceil(max(height, width) / step) * step
        below, right = side - height, side - width
        # In fp32: half precision moves orientations to neighbouring bins.
        with torch.autocast(images.device.type, enabled=False):
            images = F.pad(images.float(), (0, min(right, 1), 0, min(below, 1)), mode='reflect')
            images = F.pad(images, (0, right - min(right, 1), 0, below - min(below, 1)))
            # The parent is for three channels; each is treated by itself.
            triples = -(-self.in_channels // 3)
            images = F.pad(images, (0, 0, 0, 0, 0, 3 * triples - self.in_channels))
            hog = super().forward(images.unflatten(1, (triples, 3)).flatten(0, 1))
            hog = hog.unflatten(0, (-1, triples)).flatten(1, 2)
            # (B, C * nbins, side / pool, side / pool)
            hog = hog[:, :self.in_channels * self.nbins]
        hog = hog[:, :, :height // self.pool, :width // self.pool]
        return F.pixel_unshuffle(hog, self.cells).flatten(2).transpose(1, 2)

    def _reshape(self, hog_feat: Tensor) -> Tensor:
        """Keep the layout of the cells, which the parent would group into 14 x 14."""
        return hog_feat.flatten(1, 2)


@MODELS.register_module()
class AMTMaskFeat(Host):
    """MaskFeat that masks and throws according to a plan (Wei et al. 2022; Liu et al. 2023).

    The AMT paper names MaskFeat as a host but reports no result for it. With nothing thrown, loss
    and gradients equal MaskFeat's, provided that the neck has no batch norm, as MaskFeat's: its
    statistics would be those of the masked tokens only.

    Thrown pixels affect neither encoder nor predictions, but may affect the target of a masked
    patch, which reads one pixel beyond the patch (:class:`AMTHOGGenerator`).

    Args:
        backbone: Config of :class:`AMTMaskFeatViT`.
        neck: Config of :class:`mmpretrain.models.LinearNeck`. ``in_channels`` and ``out_channels``
            default to the sizes of backbone and target.
        target_generator: Config of :class:`AMTHOGGenerator`. ``patch_size`` and ``in_channels``
            default to the backbone's.
        **kwargs: ``head`` and others, see :class:`mmpretrain.models.MaskFeat`.

    Raises:
        InputError: A size contradicts the backbone or the target.
    """

    def __init__(self, backbone: dict, neck: dict, target_generator: dict, **kwargs) -> None:
        backbone = MODELS.build(backbone)
        target_generator = MODELS.build(fill_in_sizes(
            'target_generator', target_generator, patch_size=backbone.patch_size,
            in_channels=backbone.in_channels))
        neck = fill_in_sizes('neck', neck, in_channels=backbone.embed_dims,
                             out_channels=target_generator.channels)
        super().__init__(backbone=backbone, neck=MODELS.build(neck),
                         target_generator=target_generator, **kwargs)

    def predict(self, tokens: Tensor, plan: MaskPlan) -> Tensor:
        """Predict the features of the masked patches by one linear layer."""
        return self.neck(tokens.flatten(0, 1))[0].unflatten(0, tokens.shape[:2])

    def target(self, inputs: Tensor, patches: Tensor, plan: MaskPlan) -> Tensor:
        """Compute the HOG of the masked patches, ``(B, n_masked, channels)``."""
        return take_tokens(self.target_generator(inputs), plan.masked)
