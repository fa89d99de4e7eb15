"""SimMIM on a plain vision transformer as a host: encoder, decoder, head, algorithm.

mmpretrain has SimMIM for Swin only. This combines MaskFeat's ViT with mask tokens and SimMIM's
linear decoder, under mmpretrain's parameter names. The loss is computed token by token, so any
number of tokens can be thrown; pixels are predicted for masked tokens only.
"""

from __future__ import annotations

import torch
from mmpretrain.models import SimMIMHead, SimMIMLinearDecoder
from torch import Tensor, nn
from torch.nn import functional as F

from amt_mm.masking import MaskPlan
from amt_mm.registry import MODELS

from .host import Host, fill_in_sizes, is_pretrained
from .maskfeat import AMTMaskFeatViT


@MODELS.register_module()
class AMTSimMIMViT(AMTMaskFeatViT):
    """SimMIM's encoder: MaskFeat's, which has the same parts, with SimMIM's initialisation.

    Position embeddings are absolute and learned, as in AMT's release; SimMIM's own ViT has a
    relative position bias shared by its blocks.

    Args:
        **kwargs: See :class:`~amt_mm.models.AMTMaskFeatViT`. SimMIM's LayerScale is
            ``layer_cfgs=dict(layer_scale_init_value=.1)``.
    """

    def init_weights(self) -> None:
        """Initialise as SimMIM's ViT: truncated normal, residual branches scaled down."""
        super().init_weights()
        if is_pretrained(self):
            return
        torch.nn.init.zeros_(self.patch_embed.projection.bias)
        # BEiT's rule, adopted by SimMIM: the branches of block l are scaled by 1 / sqrt(2 l).
        for depth, layer in enumerate(self.layers, start=1):
            # A gated MLP names its layers.
            last = getattr(layer.ffn, 'w3', None) or layer.ffn.layers[1]
            for output in (layer.attn.proj, last):
                output.weight.data.div_((2 * depth)**0.5)


@MODELS.register_module()
class AMTSimMIMDecoder(SimMIMLinearDecoder):
    """SimMIM's decoder, one linear layer, on tokens instead of a feature map.

    mmpretrain's 1x1 convolution and pixel shuffle are this layer with its outputs in another order,
    so the parameters are the same.

    Args:
        in_channels: Width of the encoder's tokens.
        encoder_stride: Side of a patch in pixels.
        channels: Number of channels of the crops. Defaults to 3.
    """

    def __init__(self, in_channels: int, encoder_stride: int, channels: int = 3) -> None:
        super().__init__(in_channels, encoder_stride)
        if channels != 3:
            # The parent has 3 in its code.
            self.decoder[0] = nn.Conv2d(in_channels, encoder_stride**2 * channels, kernel_size=1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Predict the pixels of each token.

        Args:
            tokens: ``(B, n, D)``.

        Returns:
            ``(B, n, P * P * C)``, pixels in the order of ``patchify``.
        """
        layer, shuffle = self.decoder
        area = shuffle.upscale_factor**2
        # A patch is (channel, row, column) in pixel shuffle, (row, column, channel) in patchify.
        weight = layer.weight.flatten(1).unflatten(0, (-1, area)).transpose(0, 1).flatten(0, 1)
        bias = layer.bias.unflatten(0, (-1, area)).t().flatten()
        return F.linear(tokens, weight, bias)


@MODELS.register_module()
class AMTSimMIMHead(SimMIMHead):
    """SimMIM's pixel loss, token by token.

    Args:
        **kwargs: See :class:`mmpretrain.models.SimMIMHead`.
    """

    def loss(self, pred: Tensor, target: Tensor) -> Tensor:
        """Compute the mean loss over pixels and channels of the masked tokens of the batch.

        Args:
            pred: ``(B, n_masked, P * P * C)``.
            target: Pixels of the same tokens, of the same shape.

        Returns:
            Scalar. Thrown tokens count neither in the sum nor in the divisor.
        """
        return self.loss_module(pred, target)

    def denormalize_patches(self, pred: Tensor, patches: Tensor) -> Tensor:
        """Return predictions unchanged: SimMIM's targets are the pixels themselves."""
        return pred


@MODELS.register_module()
class AMTSimMIM(Host):
    """SimMIM that masks and throws according to a plan (Xie et al. 2022; Liu et al. 2023).

    With nothing thrown, loss and gradients equal SimMIM's.

    Args:
        backbone: Config of :class:`AMTSimMIMViT`.
        neck: Config of :class:`AMTSimMIMDecoder`. ``in_channels``, ``encoder_stride`` and
            ``channels`` default to the backbone's.
        head: Config of :class:`AMTSimMIMHead`. ``patch_size`` defaults to the backbone's.
        **kwargs: See :class:`mmpretrain.models.SimMIM`.

    Raises:
        InputError: A size in neck or head contradicts the backbone.
    """

    def __init__(self, backbone: dict, neck: dict, head: dict, **kwargs) -> None:
        backbone = MODELS.build(backbone)
        neck = fill_in_sizes('neck', neck, in_channels=backbone.embed_dims,
                             encoder_stride=backbone.patch_size, channels=backbone.in_channels)
        head = fill_in_sizes('head', head, patch_size=backbone.patch_size)
        super().__init__(backbone=backbone, neck=MODELS.build(neck), head=MODELS.build(head),
                         **kwargs)

    def predict(self, tokens: Tensor, plan: MaskPlan) -> Tensor:
        """Predict the pixels of the masked tokens by the decoder."""
        return self.neck(tokens)
