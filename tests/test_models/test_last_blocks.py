"""LastBlocksViT: [CLS] of every block after the final norm, against a slow reference."""

import pytest
import torch
from mmengine.config import Config
from mmpretrain.models import VisionTransformer
from mmpretrain.registry import MODELS

from amt_mm.errors import InputError
from amt_mm.models import LastBlocksViT
from amt_mm.shipped import configs_folder

ARCH = dict(embed_dims=24, num_layers=5, num_heads=3, feedforward_channels=48)
SIZE = (24, 40)


def vit(kind=LastBlocksViT, **kwargs):
    torch.manual_seed(0)
    model = kind(ARCH, SIZE, 8, **kwargs)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=.3)
    model.eval()  # mmpretrain's returns None
    return model


def normed(model, token):
    centred = token - token.mean()
    return (centred / (centred.pow(2).mean() + 1e-6).sqrt() * model.ln1.weight
            + model.ln1.bias)


@pytest.mark.parametrize('last_blocks', [1, 4, 5])
@torch.no_grad()
def test_class_tokens_are_normalised_and_in_order(last_blocks):
    model, images, wanted = vit(last_blocks=last_blocks), torch.randn(3, 3, *SIZE), []
    for image in images:
        tokens = torch.cat([model.cls_token[0], model.patch_embed(image[None])[0][0]])
        tokens = (tokens + model.pos_embed[0])[None]
        parts = []
        for number, block in enumerate(model.layers, start=1):
            tokens = block(tokens)
            if number > 5 - last_blocks:
                parts.append(normed(model, tokens[0, 0]))
        wanted.append(torch.cat(parts))
    found, = model(images)
    assert found.shape == (3, 24 * last_blocks) and model.feature_dims == 24 * last_blocks
    torch.testing.assert_close(found, torch.stack(wanted), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_one_block_equals_mmpretrains_feature():
    model, usual = vit(last_blocks=1), vit(VisionTransformer)
    images = torch.randn(1, 3, *SIZE)
    assert torch.equal(model(images)[0], usual(images)[0])


@pytest.mark.parametrize('last_blocks', [0, 6])
def test_invalid_number_of_blocks_is_rejected(last_blocks):
    with pytest.raises(InputError, match=f'last_blocks={last_blocks}: .* has 5 blocks'):
        vit(last_blocks=last_blocks)


def test_an_encoder_without_cls_is_refused():
    with pytest.raises(InputError, match=r'has no \[CLS\]: use --protocols linear'):
        vit(with_cls_token=False)


def test_protocol_trains_only_the_wide_head():
    cfg = Config.fromfile(configs_folder() / '_base_/protocols/linear_last4.py')
    cfg.model.backbone.update(arch=ARCH, img_size=SIZE, patch_size=8, last_blocks=3)
    cfg.model.head.num_classes = 7
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    model.init_weights()
    assert {name: tuple(value.shape) for name, value in model.named_parameters()
            if value.requires_grad} == {'head.fc.weight': (7, 72), 'head.fc.bias': (7,)}
    assert .005 < model.head.fc.weight.std() < .015 and not model.head.fc.bias.any()
    assert model(torch.randn(2, 3, *SIZE)).shape == (2, 7)
    # The frozen encoder stays in evaluation mode.
    model.train()
    images = torch.randn(2, 3, *SIZE)
    assert torch.equal(model.extract_feat(images)[0], model.extract_feat(images)[0])
