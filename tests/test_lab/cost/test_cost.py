"""Multiply-adds: the formula by hand, and what torch counts."""

import pytest

from amt_mm import shipped
from amt_mm.apis import comparison
from amt_mm.errors import InputError
from lab.cost.cost import blocks_cost, cost

MAE = 'mae/{}_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'


def blocks(tokens, width, layers):
    return layers * (12 * tokens * width**2 + 2 * tokens**2 * width)


def left_out(tokens, width, wanted):
    """What a last block saves that gives only `wanted`: queries, their attention, MLP."""
    return (tokens - wanted) * (width * (width + width + 8 * width) + 2 * tokens * width)


# ViT-B/16 at 224, decoder 8 x 512: embed, encoder, to the decoder's width, decoder, pixels.
BY_HAND = {
    'mae': ((50, 197), 196 * 768 * 768 + blocks(50, 768, 12) + 50 * 768 * 512
            + blocks(197, 512, 8) + 197 * 512 * 768),
    'mae-am': ((50, 197), 49 * 768 * 768 + blocks(50, 768, 12) + 50 * 768 * 512
               + blocks(197, 512, 8) - left_out(197, 512, 147) + 147 * 512 * 768),
    'mae-amt': ((31, 119), 30 * 768 * 768 + blocks(31, 768, 12) + 31 * 768 * 512
                + blocks(119, 512, 8) - left_out(119, 512, 88) + 88 * 512 * 768),
}


@pytest.mark.parametrize('name', BY_HAND)
def test_mae_costs_its_multiply_adds(name):
    found = cost(comparison.resolved(str(shipped.configs_folder() / MAE.format(name))))
    tokens, wanted = BY_HAND[name]
    assert (found.encoder_tokens, found.decoder_tokens) == tokens
    assert found.formula == wanted
    assert found.counted == wanted  # torch counts the products that really run


def test_cls_loss_costs_one_more_pass_of_the_decoder():
    cfg = comparison.resolved(str(shipped.configs_folder() / MAE.format('mae-amt')))
    cfg.model.cls_loss_weight = 1.
    found = cost(cfg)
    more = 768 * 512 + blocks(89, 512, 8) - left_out(89, 512, 88) + 88 * 512 * 768
    assert found.formula == found.counted == BY_HAND['mae-amt'][1] + more


def test_histograms_of_the_image_and_skipped_blocks_cost_their_layers():
    cfg = comparison.resolved(str(shipped.configs_folder() / MAE.format('mae-amt')))
    cfg.model.update(hog_loss_weight=.5)
    cfg.model.backbone.skip_layers = [0, 4]
    found = cost(cfg)
    more = 768 * 512 + 512 * 9 * 196 + 31 * 2 * 768 * 512
    assert found.formula == found.counted == BY_HAND['mae-amt'][1] + more


def test_cross_attention_leaves_out_what_the_encoder_tokens_cost():
    cfg = comparison.resolved(str(shipped.configs_folder() / MAE.format('mae-amt')))
    cfg.model.neck.cross_attention = True
    found = cost(cfg)
    # Queries, output and MLP of 88 masked tokens; keys, values and attention of 31 visible ones.
    block = 10 * 88 * 512**2 + 2 * 31 * 512**2 + 2 * 88 * 31 * 512
    wanted = (30 * 768 * 768 + blocks(31, 768, 12) + 31 * 768 * 512 + 8 * block
              + 88 * 512 * 768)
    assert found.formula == found.counted == wanted
    assert found.decoder_tokens == 88


@pytest.mark.parametrize('name', [MAE.format('mae-amt'), (
    'simmim/simmim-amt_vit-base-p16_8xb256-amp-coslr-200e_in1k.py')])
@pytest.mark.parametrize('rotary', [False, True])
def test_registers_and_gated_mlps(rotary, name):
    """The networks of DINOv2 and DINOv3: the formula equals what torch counts."""
    cfg = comparison.resolved(str(shipped.configs_folder() / name))
    plain = cost(cfg)
    cfg.model.backbone.update(num_registers=4, rotary=rotary, layer_cfgs=dict(
        ffn_type='swiglu_fused'))
    found = cost(cfg)
    assert found.formula == found.counted > plain.formula
    assert found.encoder_tokens == plain.encoder_tokens + 4
    assert found.decoder_tokens == plain.decoder_tokens


def test_the_ratio_is_that_of_the_multiply_adds():
    assert BY_HAND['mae-amt'][1] / BY_HAND['mae'][1] == pytest.approx(.587, abs=5e-4)


def test_other_methods_are_refused():
    path = shipped.configs_folder() / 'clothing/ibot-random_vit-nano-p8_1xb64-coslr-30e_clothing.py'
    with pytest.raises(InputError, match='^IBOT: costs are known for'):
        cost(comparison.resolved(str(path)))


def test_blocks_of_another_mlp_width():
    from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
    layers = [TransformerEncoderLayer(12, 3, 30) for _ in range(2)]
    assert blocks_cost(layers, 7, 7) == blocks_cost(layers, 7)
    saved = blocks_cost(layers, 7) - blocks_cost(layers, 7, 3)
    assert saved == 4 * (2 * 144 + 2 * 12 * 30 + 14 * 12)
    assert blocks_cost(layers, 7) == 2 * (7 * (4 * 144 + 2 * 12 * 30) + 2 * 49 * 12)
