"""MAE as a host: encoder, decoder, head and algorithm that follow a MaskPlan.

The classes change mmpretrain's as little as possible and keep its parameter names, so that
checkpoints are interchangeable. Thrown tokens are never computed: patches are embedded after
throwing, the decoder processes visible and masked tokens only, pixels are predicted for masked
tokens only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from mmpretrain.models import (
    MAEPretrainDecoder,
    MAEPretrainHead,
    MAEViT,
    VisionTransformer,
    build_2d_sincos_position_embedding,
)
from torch import Tensor
from torch.nn import functional as F

from amt_mm.checks import is_number
from amt_mm.errors import InputError
from amt_mm.masking import MaskPlan, take_tokens
from amt_mm.registry import MODELS

from .blocks import use_fast_blocks
from .host import Host, HostViT, embed_patches, fill_in_sizes, is_pretrained
from .image_hog import ImageHOG
from .recompute import enable_recompute


def sincos_position_embedding(grid: tuple[int, int], width: int) -> Tensor:
    """Compute the fixed sine-cosine embedding of [CLS] and of each patch, row by row.

    mmpretrain's function goes column by column, which assigns wrong positions unless the grid is
    square. With the transposed grid it goes row by row, with the same values on a square grid.

    Args:
        grid: Rows and columns ``(h, w)``.
        width: Embedding dimensions, a multiple of 4.

    Returns:
        ``(1, 1 + h * w, width)``, zeros for [CLS].
    """
    return build_2d_sincos_position_embedding((grid[1], grid[0]), width, cls_token=True).float()


@MODELS.register_module()
class AMTMAEViT(HostViT, MAEViT):
    """MAE's encoder on the visible tokens of a plan, for any grid.

    Values of ``arch`` are mmpretrain's: ViT-T ``'deit-tiny'``, ViT-S ``'deit-small'`` (its
    ``'small'`` is another network of width 768), ViT-B ``'base'``, ViT-L ``'large'``, ViT-H
    ``'huge'``.

    Args:
        skip_layers: Indices of blocks whose outputs the decoder reads besides those of the last,
            so that the last block need not carry what only reconstruction needs (MFF, Liu et al.,
            ICCV 2023). Defaults to (): none, as in MAE.
        **kwargs: See :class:`~amt_mm.models.HostViT` and :class:`mmpretrain.models.MAEViT`, except
            ``mask_ratio``, which belongs to the mask generator.

    Raises:
        InputError: The image is not a multiple of the patch, ``mask_ratio`` is set, or there is no
            such block before the last.
    """

    def __init__(self, skip_layers: Sequence[int] = (), **kwargs) -> None:
        if 'mask_ratio' in kwargs:
            raise InputError('model.backbone.mask_ratio has no effect here; set '
                             'data_preprocessor.mask_generator.mask_ratio')
        super().__init__(**kwargs)
        self.skip_layers = tuple(skip_layers)
        if (any(index not in range(len(self.layers) - 1) for index in self.skip_layers)
                or len(set(self.skip_layers)) < len(self.skip_layers)):
            raise InputError(f'model.backbone.skip_layers={skip_layers} must be different indices '
                             f'of blocks before the last, from 0 to {len(self.layers) - 2}')

    @property
    def encoded_dims(self) -> int:
        """Channels of the tokens that :meth:`encode` returns."""
        return self.embed_dims * (1 + len(self.skip_layers))

    def init_weights(self) -> None:
        """Initialise as MAE does, with position embeddings for any grid."""
        VisionTransformer.init_weights(self)
        if is_pretrained(self):
            return
        if self.pos_embed is not None:
            self.pos_embed.data.copy_(sincos_position_embedding(self.grid, self.embed_dims))
        weight = self.patch_embed.projection.weight.data
        torch.nn.init.xavier_uniform_(weight.flatten(1))
        torch.nn.init.normal_(self.cls_token, std=.02)

    def encode(self, patches: Tensor, plan: MaskPlan) -> Tensor:
        """Embed and encode the visible tokens only.

        Args:
            patches: Pixels of all patches, ``(B, N, P * P * C)``.
            plan: The plan of the batch.

        Returns:
            [CLS] and visible tokens in the plan's order, ``(B, 1 + n_visible, D)``, without
            registers; with ``skip_layers``, the outputs of these blocks follow along the last axis,
            ``(B, 1 + n_visible, encoded_dims)``.
        """
        tokens = embed_patches(self.patch_embed.projection, take_tokens(patches, plan.visible))
        tokens, rotation = self.enter_blocks(tokens, plan.visible)
        skipped = []
        for index, layer in enumerate(self.layers):
            tokens = layer(tokens, *rotation)
            if index in self.skip_layers:
                skipped.append(tokens)
        tokens = self.ln1(tokens) if self.final_norm else tokens
        tokens = torch.cat([tokens, *skipped], dim=2) if skipped else tokens
        return self.without_registers(tokens)


@MODELS.register_module()
class AMTMAEDecoder(MAEPretrainDecoder):
    """MAE's decoder, which processes visible and masked tokens and predicts the masked ones.

    Args:
        grid: Rows and columns of the encoder's patches.
        cross_attention: In each block, masked tokens attend to the encoder's tokens as they are,
            and not to each other, so that the cost falls with the number of masked tokens
            (CrossMAE, Fu et al., arXiv 2401.14391). Parameters and their names are MAE's. Defaults
            to False: all tokens attend to all, as in MAE.
        with_cp: Gradient checkpointing, as in :class:`AMTMAEViT`. Defaults to False.
        **kwargs: See :class:`mmpretrain.models.MAEPretrainDecoder`;
            ``num_patches`` is the product of ``grid``.
    """

    def __init__(self, grid: tuple[int, int], cross_attention: bool = False,
                 with_cp: bool = False, **kwargs) -> None:
        super().__init__(**{**kwargs, 'num_patches': grid[0] * grid[1]})
        self.grid = tuple(grid)
        self.cross_attention = cross_attention
        use_fast_blocks(self.decoder_blocks)
        if with_cp:
            enable_recompute(self.decoder_blocks)

    def init_weights(self) -> None:
        """Initialise as MAE does, with position embeddings for any grid."""
        # MAE's own method supports square grids only; its parent's is the general part.
        super(MAEPretrainDecoder, self).init_weights()
        if is_pretrained(self):
            return
        width = self.decoder_pos_embed.shape[-1]
        self.decoder_pos_embed.data.copy_(sincos_position_embedding(self.grid, width))
        torch.nn.init.normal_(self.mask_token, std=.02)

    def forward(self, latent: Tensor, plan: MaskPlan) -> Tensor:
        """Predict the masked patches.

        Args:
            latent: [CLS] and visible tokens in the plan's order, ``(B, 1 + n_visible,
                embed_dim)``; or only [CLS], ``(B, 1, embed_dim)``.
            plan: The plan of the batch.

        Returns:
            ``(B, n_masked, P * P * C)`` in the order of ``plan.masked``.
        """
        visible = plan.visible if latent.shape[1] > 1 else plan.visible[:, :0]
        positions = torch.cat([torch.zeros_like(plan.masked[:, :1]), visible + 1,
                               plan.masked + 1], dim=1)
        encoded = self.decoder_embed(latent)  # (B, 1 + n_visible or 1, D_dec)
        masked = self.mask_token.to(encoded.dtype).expand(*plan.masked.shape, -1)
        tokens = torch.cat([encoded, masked], dim=1) + F.embedding(
            positions, self.decoder_pos_embed[0])
        if self.cross_attention:
            encoded, tokens = tokens.split([encoded.shape[1], masked.shape[1]], dim=1)
            for block in self.decoder_blocks:
                tokens = block(tokens, context=encoded)
        else:
            *blocks, last = self.decoder_blocks
            for block in blocks:
                tokens = block(tokens)
            tokens = last(tokens, masked.shape[1])
        return self.decoder_pred(self.decoder_norm(tokens))  # (B, n_masked, P * P * C)


@MODELS.register_module()
class AMTMAEHead(MAEPretrainHead):
    """MAE's pixel loss on masked patches only, for any grid.

    Args:
        **kwargs: See :class:`mmpretrain.models.MAEPretrainHead`.
    """

    def loss(self, pred: Tensor, target: Tensor) -> Tensor:
        """Compute the mean loss over the masked patches of the batch.

        Args:
            pred: ``(B, n_masked, P * P * C)``.
            target: Pixels of the same patches, of the same shape.

        Returns:
            Scalar. Thrown patches count neither in the sum nor in the divisor.
        """
        return self.loss_module(pred, self.normalize_patches(target))

    def normalize_patches(self, patches: Tensor) -> Tensor:
        """Scale each patch to mean 0 and variance 1 if ``norm_pix``."""
        if not self.norm_pix:
            return patches
        var, mean = torch.var_mean(patches, dim=-1, keepdim=True)
        return (patches - mean) / (var + 1e-6).sqrt()

    def denormalize_patches(self, pred: Tensor, patches: Tensor) -> Tensor:
        """Convert predictions to pixel values by the statistics of the true patches."""
        if not self.norm_pix:
            return pred
        var, mean = torch.var_mean(patches, dim=-1, keepdim=True)
        return pred * (var + 1e-6).sqrt() + mean


@MODELS.register_module()
class AMTMAE(Host):
    """MAE that masks and throws according to a plan (He et al. 2022; Liu et al. 2023).

    With a random plan and nothing thrown, loss and gradients equal MAE's.

    Args:
        backbone: Config of :class:`AMTMAEViT`.
        neck: Config of :class:`AMTMAEDecoder`. ``grid``, ``num_patches``, ``patch_size``,
            ``in_chans`` and ``embed_dim`` default to the backbone's.
        head: Config of :class:`AMTMAEHead`. ``patch_size`` and ``in_channels`` default to the
            backbone's.
        cls_loss_weight: Weight of a second loss, ``cls_loss``: the decoder predicts the same
            patches from [CLS] alone, so that [CLS] must represent the image. In plain MAE nothing
            distinguishes it from a register token, although its attention guides the masks. After
            RetroMAE (Xiao et al. 2022). Costs one more decoder pass, without visible tokens. Logged
            in addition to ``loss``, multiplied by its weight. Defaults to 0: MAE.
        hog_loss_weight: Weight of another loss, ``hog_loss``: the mean of the visible tokens
            predicts the histograms of oriented gradients of the whole crop
            (:class:`~amt_mm.models.ImageHOG`), so that it represents the image. Logged like
            ``cls_loss``. Defaults to 0: MAE.
        **kwargs: See :class:`mmpretrain.models.MAE`.

    Raises:
        InputError: A size in neck or head contradicts the backbone, or a weight is invalid.
    """

    def __init__(self, backbone: dict, neck: dict, head: dict, cls_loss_weight: float = 0.,
                 hog_loss_weight: float = 0., **kwargs) -> None:
        for name, weight in (('cls', cls_loss_weight), ('hog', hog_loss_weight)):
            if not is_number(weight) or not 0 <= weight < math.inf:
                raise InputError(f'model.{name}_loss_weight={weight!r} must be a number, at least '
                                 '0')
        backbone = MODELS.build(backbone)
        neck = fill_in_sizes('neck', neck, grid=backbone.grid,
                             num_patches=backbone.grid[0] * backbone.grid[1],
                             patch_size=backbone.patch_size, in_chans=backbone.in_channels,
                             embed_dim=backbone.encoded_dims)
        head = fill_in_sizes('head', head, patch_size=backbone.patch_size,
                             in_channels=backbone.in_channels)
        super().__init__(backbone=backbone, neck=MODELS.build(neck), head=MODELS.build(head),
                         **kwargs)
        if cls_loss_weight:
            self.loss_weights = {**self.loss_weights, 'cls_loss': cls_loss_weight}
        self.image_hog = None
        if hog_loss_weight:
            self.loss_weights = {**self.loss_weights, 'hog_loss': hog_loss_weight}
            self.image_hog = ImageHOG(self.backbone.embed_dims, self.backbone.grid,
                                      self.backbone.patch_size)

    def predictions(self, tokens: Tensor, plan: MaskPlan) -> dict[str, Tensor]:
        """Predict the masked patches; with ``cls_loss_weight`` also from [CLS] alone."""
        found = super().predictions(tokens, plan)
        if 'cls_loss' in self.loss_weights:
            found['cls_loss'] = self.neck(tokens[:, :1], plan)
        return found

    def predict(self, tokens: Tensor, plan: MaskPlan) -> Tensor:
        """Predict the masked patches by the decoder."""
        return self.neck(tokens, plan)

    def image_losses(self, inputs: Tensor, tokens: Tensor) -> dict[str, Tensor]:
        """Compute ``hog_loss`` with ``hog_loss_weight``."""
        if self.image_hog is None:
            return {}
        visible = tokens[:, 1:, :self.backbone.embed_dims].mean(dim=1)  # (B, D)
        return {'hog_loss': self.image_hog(visible, inputs)}
