"""How many tokens a masked host processes."""

from __future__ import annotations

import copy

import torch
from torch import nn

from amt_mm.saliency.vit_blocks import prefix_tokens


def tokens_per_image(model: nn.Module) -> dict[str, int]:
    """Count the tokens per image in encoder and decoder at the end of training.

    Returns:
        ``encoder_tokens`` (with [CLS] and registers) and ``decoder_tokens``, 0 without decoder
        blocks; empty for methods without a mask generator, whose encoders see several whole crops.
    """
    if not hasattr(getattr(model, 'data_preprocessor', None), 'mask_generator'):
        return {}
    grid = model.backbone.grid
    generator = copy.deepcopy(model.data_preprocessor.mask_generator)
    generator.finish()
    plan = generator(1, grid, torch.ones(1, grid[0] * grid[1]))
    visible, masked = plan.visible.shape[1], plan.masked.shape[1]
    prefix = prefix_tokens(model.backbone)
    if hasattr(model.neck, 'decoder_blocks'):
        # With cross-attention, its blocks update masked tokens alone.
        crossed = getattr(model.neck, 'cross_attention', False)
        return {'encoder_tokens': prefix + visible,
                'decoder_tokens': masked if crossed else 1 + visible + masked}
    # Mask tokens are encoded.
    return {'encoder_tokens': prefix + visible + masked, 'decoder_tokens': 0}
