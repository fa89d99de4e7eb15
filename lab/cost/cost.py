"""Cost of a training step: tokens and multiply-adds, by formula and counted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from mmengine.config import Config
from mmpretrain.models import MAE
from mmpretrain.registry import MODELS
from torch import nn

from amt_mm.errors import InputError
from amt_mm.masking import MaskPlan
from amt_mm.models import Host

from .multiply_adds import multiply_adds


class CostUnknown(InputError):
    """The model has no cost formula."""


@dataclass(frozen=True)
class Cost:
    """Cost of the forward pass of one image.

    Attributes:
        encoder_tokens: Tokens in the encoder's blocks, [CLS] included.
        decoder_tokens: Tokens in the decoder's blocks; 0 if it has none.
        formula: Multiply-adds by formula.
        counted: Multiply-adds of the matrix products that torch runs.
    """

    encoder_tokens: int
    decoder_tokens: int
    formula: int
    counted: int


def cost(cfg: Config, guided: bool = True) -> Cost:
    """Cost of a resolved config's model, computed on the meta device.

    Args:
        cfg: Config after its overlay; its model is a :class:`Host` or mmpretrain's MAE.
        guided: The guided phase of a guided config; False for the random masking before it.

    Raises:
        CostUnknown: Another model.
    """
    with torch.device('meta'):
        model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    if not isinstance(model, Host) and type(model) is not MAE:
        raise CostUnknown(f'{type(model).__name__}: costs are known for the hosts of amt_mm and '
                          "for mmpretrain's MAE")
    backbone, hog = model.backbone, getattr(model, 'image_hog', None)
    height, width = backbone.patch_resolution
    num_tokens = height * width
    if isinstance(model, Host):
        generator = model.data_preprocessor.mask_generator
        generator.finish()
        plan = generator(1, (height, width), torch.ones(1, num_tokens) if guided else None)
        visible, masked = plan.visible.shape[1], plan.masked.shape[1]
        plan = MaskPlan(*(ids.to('meta') for ids in (plan.masked, plan.thrown, plan.visible)),
                        plan.grid)
        embedded, predicted = visible, masked

        def forward(images: torch.Tensor) -> None:
            # Without the target, which is not a part of the network (MaskFeat's is HOG).
            tokens = model.backbone.encode(model.patchify(images), plan)
            model.predictions(tokens, plan)
            if hog is not None:  # without its target, too
                hog.layers(tokens[:, 0, :backbone.embed_dims])
    else:  # mmpretrain's MAE embeds every patch and predicts every token, [CLS] too
        visible = int(num_tokens * (1 - backbone.mask_ratio))
        masked = num_tokens - visible
        embedded, predicted = num_tokens, num_tokens + 1

        def forward(images: torch.Tensor) -> None:
            model.loss(images, None)

    decoder = getattr(model.neck, 'decoder_blocks', None)
    # mmpretrain's MAE has neither registers nor rotary positions.
    prefix = getattr(backbone, 'num_prefix_tokens', 1)
    encoder_tokens = prefix + visible + (0 if decoder else masked)
    crossed = getattr(model.neck, 'cross_attention', False)
    decoder_tokens = masked + (0 if crossed else 1 + visible) if decoder else 0
    # What is left after the last block that predicts: a Host drops there what no loss reads.
    wanted = masked if isinstance(model, Host) else None
    images = torch.zeros(1, 3, *backbone.img_size, device='meta')
    counted = multiply_adds(lambda: forward(images), (repr(cfg.model), visible, masked))

    projection = backbone.patch_embed.projection
    formula = embedded * projection.weight.numel()
    whole = decoder or getattr(backbone, 'rotary', None) is not None
    formula += blocks_cost(backbone.layers, encoder_tokens, None if whole else wanted)
    if decoder:
        passes = [(1 + visible, decoder_tokens)]
        if 'cls_loss' in getattr(model, 'loss_weights', {}):
            passes.append((1, 1 + masked))  # from [CLS] alone
        for entering, tokens in passes:
            formula += entering * model.neck.decoder_embed.weight.numel()
            if crossed:
                formula += len(decoder) * block_cost(decoder[0], masked, entering)
            else:
                formula += blocks_cost(decoder, tokens, wanted)
            formula += predicted * model.neck.decoder_pred.weight.numel()
    else:
        # One linear layer, or a convolution of one pixel that is one.
        matrix, = (weight for weight in model.neck.parameters() if weight.dim() > 1)
        formula += predicted * matrix.numel()
    if hog is not None:
        formula += sum(weight.numel() for weight in hog.parameters() if weight.dim() > 1)
    return Cost(encoder_tokens, decoder_tokens, formula, counted)


def blocks_cost(blocks: nn.ModuleList, tokens: int, wanted: int | None = None) -> int:
    """Multiply-adds of a stack of transformer blocks: ``L (12 n d^2 + 2 n^2 d)``.

    Args:
        blocks: L blocks of width d; MLPs of another width than 4 d are counted as they are.
        tokens: Tokens n.
        wanted: Tokens m that the last block outputs; the others serve as keys and values. Defaults
            to None: all.
    """
    last = block_cost(blocks[0], tokens if wanted is None else wanted, tokens)
    return (len(blocks) - 1) * block_cost(blocks[0], tokens, tokens) + last


def block_cost(block: nn.Module, queries: int, keys: int) -> int:
    """Multiply-adds of a block of width d: ``(10 m + 2 n) d^2 + 2 m n d``.

    Args:
        block: The block.
        queries: Tokens m that attend and are output.
        keys: Tokens n that they attend to.
    """
    width = block.embed_dims
    mlp = sum(weight.numel() for weight in block.ffn.parameters() if weight.dim() > 1)
    return (queries * (2 * width**2 + mlp) + keys * 2 * width**2
            + 2 * queries * keys * width)
