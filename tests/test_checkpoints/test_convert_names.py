"""Naming: exact round trips, and converted networks compute the same.

The oracles are timm's transformer, and MAE and SimMIM written out below on their own names.
"""

import pytest
import torch
from torch.nn import functional as F
from vit_pairs import ARCH, DEPTH, HEADS, PATCH, SIZE, WIDTH, our_vit, randomised, same, timm_vit

from amt_mm.checkpoints import convert, detect_naming
from amt_mm.errors import InputError
from amt_mm.masking import MaskPlan
from amt_mm.models import AMTSimMIM


def backbone(state):
    return {key.removeprefix('backbone.'): value for key, value in state.items()}


VARIANTS = pytest.mark.parametrize(('theirs', 'ours'), [
    ({}, {}), (dict(qkv_bias=False), dict(qkv_bias=False)),
    (dict(init_values=.1), dict(layer_scale_init_value=.1)),
    (dict(pre_norm=True), dict(pre_norm=True))])


@VARIANTS
def test_features_of_timm(theirs, ours):
    torch.manual_seed(0)
    timm, images = timm_vit(**theirs), torch.randn(1, 3, *SIZE)
    model = our_vit(**ours)
    model.load_state_dict(backbone(convert(timm.state_dict(), 'mmpretrain').state))
    torch.testing.assert_close(model(images)[0], timm.forward_features(images), atol=1e-5, rtol=0)


@VARIANTS
def test_features_for_timm(theirs, ours):
    torch.manual_seed(1)
    model, images = our_vit(**ours), torch.randn(3, 3, *SIZE)
    state = {f'backbone.{key}': value for key, value in model.state_dict().items()}
    timm = timm_vit(**theirs)
    timm.load_state_dict(convert(state, 'timm').state)
    torch.testing.assert_close(timm.forward_features(images), model(images)[0], atol=1e-5, rtol=0)


def test_features_of_timm_by_average_pooling_with_a_head():
    torch.manual_seed(2)
    timm, images = timm_vit(global_pool='avg', num_classes=5), torch.randn(2, 3, *SIZE)
    model = our_vit(out_type='avg_featmap', final_norm=False)
    state = convert(timm.state_dict(), 'mmpretrain').state
    weight, bias = state.pop('head.fc.weight'), state.pop('head.fc.bias')
    model.load_state_dict(backbone(state))
    torch.testing.assert_close(F.linear(model(images)[0], weight, bias), timm(images), atol=1e-5,
                               rtol=0)


# MAE and SimMIM by their own names, token by token.

def linear(state, name, x):
    return x @ state[f'{name}.weight'].T + state[f'{name}.bias']


def norm(state, name, x):
    x = (x - x.mean(-1, keepdim=True)) / (x.var(-1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    return x * state[f'{name}.weight'] + state[f'{name}.bias']


def attention(qkv, heads):
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(0, 1) for part in qkv.chunk(3, dim=-1))
    weights = (q @ k.transpose(1, 2) / q.shape[-1]**.5).softmax(-1)  # (heads, n, n)
    return (weights @ v).transpose(0, 1).flatten(1)


def mae_block(state, name, heads, x):
    qkv = linear(state, f'{name}.attn.qkv', norm(state, f'{name}.norm1', x))
    x = x + linear(state, f'{name}.attn.proj', attention(qkv, heads))
    hidden = F.gelu(linear(state, f'{name}.mlp.fc1', norm(state, f'{name}.norm2', x)))
    return x + linear(state, f'{name}.mlp.fc2', hidden)


def embedded(state, name, image):
    """Patches row by row, ``(N, D)``."""
    kernel = state[f'{name}.weight']
    rows, columns = image.shape[1] // PATCH, image.shape[2] // PATCH
    return torch.stack([
        (kernel * image[:, y * PATCH:(y + 1) * PATCH, x * PATCH:(x + 1) * PATCH]).sum((1, 2, 3))
        for y in range(rows) for x in range(columns)]) + state[f'{name}.bias']


def mae(state, image, visible, masked, heads, decoder_heads):
    """Predicted patches at ``masked``, as MAE writes them in: (n, row, column, channel)."""
    positions = state['pos_embed'][0]
    tokens = embedded(state, 'patch_embed.proj', image) + positions[1:]
    x = torch.cat([state['cls_token'][0] + positions[:1], tokens[visible]])
    for i in range(DEPTH):
        x = mae_block(state, f'blocks.{i}', heads, x)
    x = linear(state, 'decoder_embed', norm(state, 'norm', x))
    whole = state['mask_token'][0].expand(len(tokens), -1).clone()
    whole[visible] = x[1:]
    whole = torch.cat([x[:1], whole]) + state['decoder_pos_embed'][0]
    order = sorted([*visible, *masked])  # thrown tokens are seen by neither
    x = whole[[0, *(1 + i for i in order)]]
    x = mae_block(state, 'decoder_blocks.0', decoder_heads, x)
    x = linear(state, 'decoder_pred', norm(state, 'decoder_norm', x))[1:]
    return torch.stack([x[order.index(i)] for i in masked]).unflatten(-1, (PATCH, PATCH, 3))


def plan(visible, masked, thrown):
    return MaskPlan(visible=torch.tensor([visible]), masked=torch.tensor([masked]),
                    thrown=torch.tensor([thrown]), grid=(5, 7))


def split(count=35, masked=11, thrown=9):
    order = torch.randperm(count).tolist()
    return order[masked + thrown:], order[:masked], order[masked:masked + thrown]


def reconstruction(model, image, parts):
    """Prediction of our model, ``(n, row, column, channel)``; images are cut by the formula."""
    made = plan(*parts)
    pred = model.predict(model.backbone.encode(model.patchify(image[None]), made), made)
    return pred[0].unflatten(-1, (PATCH, PATCH, 3))


@pytest.mark.parametrize('thrown', [0, 9])
def test_reconstructions_of_mae(toy_mae, thrown):
    torch.manual_seed(3)
    state = {key: torch.randn_like(value) * .3 for key, value in
             convert(toy_mae().state_dict(), 'mae').state.items()}
    model = toy_mae(seed=7).eval()
    model.load_state_dict(convert(state, 'mmpretrain').state)
    image, parts = torch.randn(3, *SIZE), split(thrown=thrown)
    torch.testing.assert_close(reconstruction(model, image, parts),
                               mae(state, image, *parts[:2], HEADS, 2), atol=1e-5, rtol=0)


def test_reconstructions_for_mae(toy_mae):
    model = toy_mae(seed=4).eval()
    image, parts = torch.randn(3, *SIZE), split()
    state = convert(model.state_dict(), 'mae').state
    torch.testing.assert_close(mae(state, image, *parts[:2], HEADS, 2),
                               reconstruction(model, image, parts), atol=1e-5, rtol=0)


def test_patches_are_put_back_where_mae_puts_them(toy_mae):
    """MAE's einsum 'nhwpqc->nchpwq' and our reconstruct() agree on every pixel."""
    torch.manual_seed(5)
    model = toy_mae(seed=5, head=dict(norm_pix=False))
    image, parts = torch.randn(3, *SIZE), split()
    predicted = mae(convert(model.state_dict(), 'mae').state, image, *parts[:2], HEADS, 2)
    patches = torch.einsum('chpwq->hwpqc', image.reshape(3, 5, PATCH, 7, PATCH)).flatten(0, 1)
    patches[parts[1]] = predicted
    expected = torch.einsum('hwpqc->chpwq', patches.unflatten(0, (5, 7))).reshape(3, *SIZE)
    made = model.eval().reconstruct(image[None], plan(*parts))[0]
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=0)


def our_simmim(scale):
    model = AMTSimMIM(
        backbone=dict(type='amt_mm.AMTSimMIMViT', arch=ARCH, img_size=SIZE, patch_size=PATCH,
                      layer_cfgs=dict(layer_scale_init_value=scale)),
        neck=dict(type='amt_mm.AMTSimMIMDecoder'),
        head=dict(type='amt_mm.AMTSimMIMHead',
                  loss=dict(type='PixelReconstructionLoss', criterion='L1')),
        data_preprocessor=dict(type='amt_mm.AMTDataPreprocessor',
                               mask_generator=dict(type='amt_mm.AMTMaskGenerator')))
    return randomised(model)


def simmim(state, image, masked, scaled):
    """The whole predicted image, ``(3, H, W)``; nothing thrown."""
    e = 'encoder.'
    tokens = embedded(state, f'{e}patch_embed.proj', image)
    tokens[masked] = state[f'{e}mask_token'][0]
    x = torch.cat([state[f'{e}cls_token'][0], tokens]) + state[f'{e}pos_embed'][0]
    for i in range(DEPTH):
        block = f'{e}blocks.{i}.'
        qkv = norm(state, f'{block}norm1', x) @ state[f'{block}attn.qkv.weight'].T
        if f'{block}attn.q_bias' in state:
            query = state[f'{block}attn.q_bias']
            qkv = qkv + torch.cat([query, 0 * query, state[f'{block}attn.v_bias']])
        y = linear(state, f'{block}attn.proj', attention(qkv, HEADS))
        x = x + (state[f'{block}gamma_1'] * y if scaled else y)
        hidden = F.gelu(linear(state, f'{block}mlp.fc1', norm(state, f'{block}norm2', x)))
        x = x + state[f'{block}gamma_2'] * linear(state, f'{block}mlp.fc2', hidden)
    image = norm(state, f'{e}norm', x)[1:].T.unflatten(-1, (5, 7))
    image = F.conv2d(image[None], state['decoder.0.weight'], state['decoder.0.bias'])
    return F.pixel_shuffle(image, PATCH)[0]


def patches_of(image):
    return torch.einsum('chpwq->hwpqc', image.reshape(3, 5, PATCH, 7, PATCH)).flatten(0, 1)


@pytest.mark.parametrize('release', ['SimMIM', 'AMT', 'without biases'])
def test_reconstructions_of_simmim(release):
    torch.manual_seed(6)
    source = convert(our_simmim(.1).state_dict(), 'simmim').state
    if release == 'AMT':  # it has a scale that it neither applies nor trains
        source = {k: torch.full_like(v, .1) if k.endswith('gamma_1') else v
                  for k, v in source.items()}
    if release == 'without biases':
        source = {k: v for k, v in source.items() if not k.endswith(('q_bias', 'v_bias'))}
    result = convert(source, 'mmpretrain')
    model = our_simmim(.1)
    fitted = model.load_state_dict(result.state, strict=False)
    assert not fitted.unexpected_keys
    if release == 'without biases':
        assert len(fitted.missing_keys) == DEPTH
        for layer in model.backbone.layers:
            torch.nn.init.zeros_(layer.attn.qkv.bias)
    assert ('gamma_1 is 0.1 everywhere' in ' '.join(result.notes)) == (release == 'AMT')
    image, (visible, masked, _) = torch.randn(3, *SIZE), split(thrown=0)
    expected = patches_of(simmim(source, image, masked, scaled=release != 'AMT'))[masked]
    made = reconstruction(model, image, (visible, masked, []))
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=0)


def test_reconstructions_for_simmim_though_it_has_no_biases_of_keys():
    torch.manual_seed(7)
    model = our_simmim(.1)
    result = convert(model.state_dict(), 'simmim')
    assert 'biases of the keys' in ' '.join(result.notes) and not result.left_out
    image, (visible, masked, _) = torch.randn(3, *SIZE), split(thrown=0)
    expected = patches_of(simmim(result.state, image, masked, scaled=True))[masked]
    torch.testing.assert_close(reconstruction(model, image, (visible, masked, [])), expected,
                               atol=1e-5, rtol=0)


# There and back.

def test_round_trip_of_mae(toy_mae):
    ours = toy_mae().state_dict()
    theirs = convert(ours, 'mae')
    assert theirs.naming == 'mmpretrain' and not theirs.left_out and not theirs.notes
    assert {'decoder_blocks.0.mlp.fc1.bias', 'decoder_norm.weight', 'decoder_pred.weight',
            'mask_token', 'decoder_pos_embed', 'blocks.1.attn.qkv.weight', 'norm.bias',
            'patch_embed.proj.weight'} < theirs.state.keys()
    back = convert(theirs.state, 'mmpretrain')
    assert back.naming == 'mae'
    same(back.state, ours)
    same(convert(back.state, 'mae').state, theirs.state)


@pytest.mark.parametrize('kwargs', [{}, dict(num_classes=4), dict(init_values=.1, qkv_bias=False),
                                    dict(global_pool='avg', num_classes=4), dict(class_token=False,
                                                                                 global_pool='avg')])
def test_round_trip_of_timm(kwargs):
    theirs = timm_vit(**kwargs).state_dict()
    ours = convert(theirs, 'mmpretrain')
    assert ours.naming == 'timm' and not ours.left_out
    same(convert(ours.state, 'timm').state, theirs)


def test_round_trip_of_simmim():
    ours = our_simmim(.1).state_dict()
    for key, value in ours.items():
        if key.endswith('qkv.bias'):
            value[WIDTH:2 * WIDTH] = 0
    theirs = convert(ours, 'simmim')
    assert not theirs.notes and not theirs.left_out
    same(convert(theirs.state, 'mmpretrain').state, ours)
    same(convert(convert(theirs.state, 'mmpretrain').state, 'simmim').state, theirs.state)


def test_what_timm_lacks_is_named(toy_mae):
    mae_state = convert(toy_mae().state_dict(), 'mae').state
    result = convert(mae_state, 'timm')
    assert result.naming == 'mae'
    assert sorted(result.left_out) == sorted(
        key for key in mae_state if key.startswith('decoder_') or key == 'mask_token')
    assert result.state.keys() | set(result.left_out) == mae_state.keys()
    assert detect_naming(result.state) == 'timm'


@pytest.mark.parametrize('to', ['mmpretrain', 'mae', 'timm', 'simmim'])
@pytest.mark.parametrize('source', ['mmpretrain', 'mae', 'simmim'])
def test_the_encoder_alone(toy_mae, source, to):
    whole = our_simmim(.1) if source == 'simmim' else toy_mae()
    state = convert(whole.state_dict(), source).state
    result = convert(state, to, encoder_only=True)
    encoder = {k: v for k, v in whole.state_dict().items()
               if k.startswith('backbone.') and k != 'backbone.mask_token'}
    back = convert(result.state, 'mmpretrain').state
    assert back.keys() == encoder.keys()
    assert len(result.left_out) == len(whole.state_dict()) - len(encoder)
    assert set(result.left_out) <= state.keys()


def test_a_backbone_alone_gets_its_prefix():
    state = our_vit().state_dict()
    assert detect_naming(state) == 'mmpretrain'
    same(convert(state, 'mmpretrain').state, {f'backbone.{k}': v for k, v in state.items()})
    same(convert(convert(state, 'timm').state, 'mmpretrain').state,
         {f'backbone.{k}': v for k, v in state.items()})


@pytest.mark.parametrize(('kwargs', 'name'), [
    (dict(scale_attn_norm=True), 'blocks.0.attn.norm'),
    (dict(qk_norm=True), 'blocks.0.attn.q_norm')])
def test_parts_that_plain_transformers_lack_are_refused(kwargs, name):
    with pytest.raises(InputError, match=name):
        convert(timm_vit(**kwargs).state_dict(), 'mmpretrain')


@pytest.mark.parametrize('name', ['encoder.rel_pos_bias.relative_position_bias_table',
                                  'encoder.blocks.0.attn.relative_position_bias_table'])
def test_relative_positions_of_simmim_are_refused(name):
    state = convert(our_simmim(.1).state_dict(), 'simmim').state
    with pytest.raises(InputError, match='relative_position_bias_table'):
        convert({**state, name: torch.zeros(3, 2)}, 'mmpretrain')


def test_parts_of_other_backbones_are_refused():
    state = {f'backbone.{k}': v for k, v in our_vit().state_dict().items()}
    with pytest.raises(InputError, match='rel_pos_h'):
        convert({**state, 'backbone.layers.0.attn.rel_pos_h': torch.zeros(3, 8)}, 'timm')


@pytest.mark.parametrize('state', [{}, {'conv1.weight': torch.ones(1)}])
def test_other_networks_are_refused(state):
    assert detect_naming(state) is None
    with pytest.raises(InputError, match='no known naming'):
        convert(state, 'timm')


def test_half_of_the_biases_is_refused():
    state = convert(our_simmim(.1).state_dict(), 'simmim').state
    del state['encoder.blocks.1.attn.v_bias']
    with pytest.raises(InputError, match='q_bias` without its v_bias'):
        convert(state, 'mmpretrain')
