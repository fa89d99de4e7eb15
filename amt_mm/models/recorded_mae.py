"""MAE with its decoder, from the weights in a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from amt_mm.checkpoints import Checkpoint, convert, fit_positions
from amt_mm.config_parts import section
from amt_mm.errors import InputError
from amt_mm.registry import MODELS

from .mae import AMTMAE

# Width and heads of the decoder in the official code, whose files do not record them.
_OFFICIAL = (512, 16)


def build_mae(checkpoint: Checkpoint, backbone: Mapping[str, Any], image_size: int
              ) -> AMTMAE | None:
    """Build the MAE of a checkpoint that carries a decoder.

    Sizes are read from the weights and, where these do not show them, from the config: nothing of
    the file decides which classes are built. Position embeddings are resized.

    Args:
        checkpoint: This toolbox's, mmpretrain's or official.
        backbone: ``Pretraining.backbone``: architecture and patch size.
        image_size: Side of the square images in pixels.

    Returns:
        The model in evaluation mode, on the CPU; its ``head.norm_pix`` is None if the file does not
        tell. None if there is no decoder of MAE.

    Raises:
        InputError: The file has a decoder, but does not tell its number of heads, or it is of
            another kind.
    """
    state, *_ = convert(checkpoint.state, 'mmpretrain')
    if 'neck.decoder_pred.weight' not in state or 'backbone.cls_token' not in state:
        return None
    config = section(checkpoint.config.get('model'))
    backbone_config, neck, head = (section(config.get(part)) for part in (
        'backbone', 'neck', 'head'))
    width = state['neck.decoder_embed.weight'].shape[0]
    heads = neck.get('decoder_num_heads', _OFFICIAL[1] if width == _OFFICIAL[0] else None)
    if heads is None:
        raise InputError(f'it has a decoder of width {width}, but no config that gives its number '
                         'of heads')
    hidden = state['neck.decoder_blocks.0.ffn.layers.0.0.weight'].shape[0]
    model = MODELS.build(dict(
        type='amt_mm.AMTMAE',
        backbone=dict(type='amt_mm.AMTMAEViT', img_size=image_size, **backbone,
                      skip_layers=backbone_config.get('skip_layers', ())),
        neck=dict(type='amt_mm.AMTMAEDecoder', decoder_embed_dim=width,
                  decoder_depth=len({key.split('.')[2] for key in state
                                     if key.startswith('neck.decoder_blocks.')}),
                  decoder_num_heads=heads, mlp_ratio=hidden / width,
                  cross_attention=bool(neck.get('cross_attention'))),
        head=dict(type='amt_mm.AMTMAEHead',
                  loss=dict(type='PixelReconstructionLoss', criterion='L2'))))
    model.head.norm_pix = head.get('norm_pix')
    own = model.state_dict()
    # Rotary positions have no embeddings.
    for name in own.keys() & state.keys() & {'backbone.pos_embed', 'neck.decoder_pos_embed'}:
        state[name] = fit_positions(state[name], own[name], True, True, checkpoint.grid,
                                    model.backbone.grid)[0]
    unfit = [name for name, value in own.items()
             if name not in state or state[name].shape != value.shape]
    if unfit:
        raise InputError(f'its decoder is not plain MAE\'s: {unfit[0]} is missing or has another '
                         'shape')
    model.load_state_dict({name: state[name] for name in own})
    return model.eval()
