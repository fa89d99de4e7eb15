"""Names of transformers, whose query, key and value are apart; its ViTModel is written out."""

import pytest
import torch
from torch.nn import functional as F
from vit_pairs import DEPTH, HEADS, PATCH, SIZE, WIDTH, our_vit, same

from amt_mm.checkpoints import convert, detect_naming
from amt_mm.errors import InputError


def transformers_features(state, images):
    """ViTModel of transformers on its own names, each head by itself."""
    def linear(name, x):
        return x @ state[f'{name}.weight'].T + state[f'{name}.bias']

    def norm(name, x):
        return F.layer_norm(x, (WIDTH, ), state[f'{name}.weight'], state[f'{name}.bias'], 1e-6)

    stem = 'vit.embeddings.patch_embeddings.projection'
    patches = F.conv2d(images, state[f'{stem}.weight'], state[f'{stem}.bias'], stride=PATCH)
    cls = state['vit.embeddings.cls_token'].expand(len(images), -1, -1)
    x = torch.cat([cls, patches.flatten(2).mT], 1) + state['vit.embeddings.position_embeddings']
    for block in (f'vit.encoder.layer.{i}' for i in range(DEPTH)):
        query, key, value = (
            linear(f'{block}.attention.attention.{name}', norm(f'{block}.layernorm_before', x))
            for name in ('query', 'key', 'value'))
        size = WIDTH // HEADS
        heads = []
        for place in (slice(size * i, size * (i + 1)) for i in range(HEADS)):
            weights = (query[..., place] @ key[..., place].mT / size**.5).softmax(-1)
            heads.append(weights @ value[..., place])
        x = x + linear(f'{block}.attention.output.dense', torch.cat(heads, -1))
        hidden = F.gelu(linear(f'{block}.intermediate.dense', norm(f'{block}.layernorm_after', x)))
        x = x + linear(f'{block}.output.dense', hidden)
    return norm('vit.layernorm', x)


@torch.no_grad()
def test_features_for_transformers():
    torch.manual_seed(5)
    model, images = our_vit(), torch.randn(2, 3, *SIZE)
    state = convert(model.state_dict(), 'transformers').state
    torch.testing.assert_close(transformers_features(state, images), model(images)[0], atol=1e-5,
                               rtol=0)


def test_round_trip_of_transformers(toy_mae):
    ours = toy_mae().state_dict()
    theirs = convert(ours, 'transformers')
    assert theirs.left_out == [] and detect_naming(theirs.state) == 'transformers'
    same(convert(theirs.state, 'mmpretrain').state, ours)
    # In saving, release 5 renames the layers of the decoder.
    renamed = {key.replace('.decoder_layers.', '.decoder_encoder.layer.'): value
               for key, value in theirs.state.items()}
    assert renamed.keys() != theirs.state.keys()
    same(convert(renamed, 'mmpretrain').state, ours)
    # ViTModel's own names; its pooler is beyond the tokens.
    alone = convert(ours, 'transformers', encoder_only=True).state
    bare = {key.removeprefix('vit.'): value for key, value in alone.items()}
    back = convert({**bare, 'pooler.dense.weight': torch.ones(2, 2)}, 'mmpretrain')
    assert back.left_out == ['vit.pooler.dense.weight']
    same(back.state, convert(ours, 'mmpretrain', encoder_only=True).state)


@pytest.mark.parametrize('name', ['embeddings.distillation_token', 'encoder.layer.0.lambda_1'])
def test_other_transformers_are_refused(name):
    state = convert(our_vit().state_dict(), 'transformers').state
    with pytest.raises(InputError, match=f'{name}.* plain vision transformer lacks'):
        convert({**state, f'vit.{name}': torch.ones(3)}, 'mmpretrain')


@pytest.mark.parametrize('lost', ['query', 'key', 'value'])
def test_a_part_of_the_attention_is_refused(lost):
    state = convert(our_vit().state_dict(), 'transformers').state
    del state[f'vit.encoder.layer.1.attention.attention.{lost}.bias']
    with pytest.raises(InputError, match='layer.1.* is incomplete: query, key and value'):
        convert(state, 'mmpretrain')
