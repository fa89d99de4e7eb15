"""Outputs of earlier blocks for MAE's decoder."""

import pytest
import torch
from slow_mae import make_images, make_plan

from amt_mm.errors import InputError


def three_blocks(toy_mae, **backbone):
    return toy_mae(backbone=dict(arch=dict(embed_dims=24, num_layers=4, num_heads=3,
                                           feedforward_channels=48), **backbone)).double()


@pytest.mark.parametrize('skip', [(0,), (0, 2), (1, 2, 0)])
def test_the_decoder_reads_the_outputs_of_the_blocks(toy_mae, skip):
    model = three_blocks(toy_mae, skip_layers=skip)
    images, plan = make_images(3).double(), make_plan(3, 15, 14)
    outputs = {}
    for index, layer in enumerate(model.backbone.layers):
        layer.register_forward_hook(
            lambda module, args, output, index=index: outputs.__setitem__(index, output))
    tokens = model.backbone.encode(model.patchify(images), plan)
    assert tokens.shape == (3, 1 + 6, 24 * (1 + len(skip)))
    torch.testing.assert_close(tokens[..., :24], model.backbone.ln1(outputs[3]))
    for place, index in enumerate(sorted(skip), start=1):
        assert torch.equal(tokens[..., 24 * place:24 * (place + 1)], outputs[index])
    assert model.neck.decoder_embed.weight.shape == (16, 24 * (1 + len(skip)))
    model.loss(images, None, plan)['loss'].backward()
    assert model.neck.decoder_embed.weight.grad.any(dim=0).all()


def test_features_are_those_of_the_last_block(toy_mae):
    plain, skipping = three_blocks(toy_mae), three_blocks(toy_mae, skip_layers=[0, 1])
    skipping.backbone.load_state_dict(plain.backbone.state_dict())
    images = make_images(2).double()
    assert torch.equal(plain.extract_feat(images)[-1], skipping.extract_feat(images)[-1])


@pytest.mark.parametrize('wrong', [[3], [-1], [0, 0], [.5]])
def test_an_invalid_block_is_named(toy_mae, wrong):
    with pytest.raises(InputError, match='model.backbone.skip_layers=.* from 0 to 2'):
        three_blocks(toy_mae, skip_layers=wrong)
