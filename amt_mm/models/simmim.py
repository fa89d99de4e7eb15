"""SimMIM on a plain vision transformer as a host: encoder, decoder, head, algorithm.

mmpretrain has SimMIM for Swin alone. Here the ViT with mask tokens (MaskFeat's) meets
SimMIM's linear decoder, under mmpretrain's parameter names. The loss is taken token by
token, so any number of tokens may be thrown; pixels are predicted for masked ones only.
"""

from __future__ import annotations

import torch
from mmpretrain.models import SimMIMHead, SimMIMLinearDecoder
from torch import Tensor
from torch.nn import functional as F

from amt_mm.masking import MaskPlan
from amt_mm.registry import MODELS

from .host import Host, follow_backbone
from .maskfeat import AMTMaskFeatViT


@MODELS.register_module()
class AMTSimMIMViT(AMTMaskFeatViT):
    """SimMIM's encoder: MaskFeat's, which has the same parts, with SimMIM's start.

    Positions are absolute and learnt, as in AMT's release; SimMIM's own ViT has a relative
    position bias, shared by its blocks, instead.

    Args:
        **kwargs: See :class:`~amt_mm.models.AMTMaskFeatViT`. SimMIM's LayerScale is
            ``layer_cfgs=dict(layer_scale_init_value=.1)``.
    """

    def init_weights(self) -> None:
        """Initialise as SimMIM does its ViT: truncated normal, residual branches scaled down."""
        super().init_weights()
        if isinstance(self.init_cfg, dict) and self.init_cfg['type'] == 'Pretrained':
            return
        torch.nn.init.zeros_(self.patch_embed.projection.bias)
        # BEiT's rule, which SimMIM took over: block l adds 1 / sqrt(2 l) of its branches.
        for depth, layer in enumerate(self.layers, start=1):
            for output in (layer.attn.proj, layer.ffn.layers[1]):
                output.weight.data.div_((2 * depth)**0.5)


@MODELS.register_module()
class AMTSimMIMDecoder(SimMIMLinearDecoder):
    """SimMIM's decoder, one linear layer, on tokens instead of a feature map.

    mmpretrain's 1x1 convolution and pixel shuffle are this layer with its outputs in
    another order, so the parameters are the same.

    Args:
        **kwargs: See :class:`mmpretrain.models.SimMIMLinearDecoder`.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        """Predict the pixels of each token.

        Args:
            tokens: ``(B, n, D)``.

        Returns:
            ``(B, n, P * P * C)``, pixels ordered as by patchify.
        """
        layer, shuffle = self.decoder
        area = shuffle.upscale_factor**2
        # Pixel shuffle orders a patch as (channel, row, column), patchify has the channel last.
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
        """Mean loss over the pixels of the masked tokens of the batch.

        Args:
            pred: ``(B, n_masked, P * P * C)``.
            target: Pixels of the same tokens, of the same shape.

        Returns:
            Scalar. Its divisor is the number of masked pixels times that of channels;
            thrown tokens are neither in the sum nor in the divisor.
        """
        return self.loss_module(pred, target)

    def denormalize_patches(self, pred: Tensor, patches: Tensor) -> Tensor:
        """Predictions as they are: SimMIM's target is the pixels themselves."""
        return pred


@MODELS.register_module()
class AMTSimMIM(Host):
    """SimMIM that masks and throws as a plan says (Xie et al. 2022; Liu et al. 2023).

    With nothing thrown, loss and gradients are SimMIM's.

    Args:
        backbone: Config of :class:`AMTSimMIMViT`.
        neck: Config of :class:`AMTSimMIMDecoder`. ``in_channels`` and
            ``encoder_stride`` follow the backbone where absent.
        head: Config of :class:`AMTSimMIMHead`. ``patch_size`` follows the backbone
            where absent.
        **kwargs: See :class:`mmpretrain.models.SimMIM`.

    Raises:
        InputError: A size in neck or head that contradicts the backbone.
    """

    def __init__(self, backbone: dict, neck: dict, head: dict, **kwargs) -> None:
        backbone = MODELS.build(backbone)
        neck = follow_backbone('neck', neck, in_channels=backbone.embed_dims,
                               encoder_stride=backbone.patch_size)
        head = follow_backbone('head', head, patch_size=backbone.patch_size)
        super().__init__(backbone=backbone, neck=MODELS.build(neck), head=MODELS.build(head),
                         **kwargs)

    def predict(self, tokens: Tensor, plan: MaskPlan) -> Tensor:
        """Pixels of the masked tokens, by the decoder."""
        return self.neck(tokens)
