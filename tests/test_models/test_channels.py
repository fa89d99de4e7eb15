"""Hosts on images of any number of channels, against formulas that are written out."""

import pytest
import torch
from mmpretrain.registry import MODELS
from three_hosts import GRID, SIZE, build_host
from torch import nn
from torch.nn import functional as F

from amt_mm.errors import InputError
from amt_mm.masking import MaskPlan
from amt_mm.models import AMTHOGGenerator
from amt_mm.models.host import embed_patches

PATCH, TOKENS = 8, GRID[0] * GRID[1]
COUNTS = (1, 2, 6, 20)


def images(channels, batch=3):
    return torch.randn(batch, channels, *SIZE, generator=torch.Generator().manual_seed(1))


def plan(batch=3, masked=9, thrown=5):
    order = torch.stack([torch.randperm(TOKENS, generator=torch.Generator().manual_seed(b))
                         for b in range(batch)])
    return MaskPlan(order[:, :masked], order[:, masked:masked + thrown],
                    order[:, masked + thrown:], GRID)


def patch(image, token):
    """Pixels of a patch of (C, H, W) as (row, column, channel)."""
    row, column = divmod(token, GRID[1])
    cut = image[:, row * PATCH:(row + 1) * PATCH, column * PATCH:(column + 1) * PATCH]
    return torch.stack([cut[c, y, x] for y in range(PATCH) for x in range(PATCH)
                        for c in range(len(image))])


@pytest.mark.parametrize('channels', COUNTS)
@pytest.mark.parametrize('host', ['mae', 'simmim'])
def test_pixels_of_all_channels_are_the_target(host, channels):
    model = build_host(host, in_channels=channels)
    inputs, where = images(channels), plan()
    wanted = torch.stack([torch.stack([patch(image, int(token)) for token in tokens])
                          for image, tokens in zip(inputs, where.masked, strict=True)])
    found = model.target(inputs, model.patchify(inputs), where)
    assert torch.equal(found, wanted)
    predicted = model.predict(model.backbone.encode(model.patchify(inputs), where), where)
    assert predicted.shape == wanted.shape
    if host == 'mae':
        wanted = (wanted - wanted.mean(-1, keepdim=True)) / (
            wanted.var(-1, keepdim=True) + 1e-6).sqrt()
    losses = model.losses(inputs, where)
    torch.testing.assert_close(losses['loss'], (predicted - wanted).square().mean())


@pytest.mark.parametrize('channels', COUNTS)
def test_patches_are_embedded_as_by_the_convolution(channels):
    backbone = build_host('mae', in_channels=channels).backbone
    inputs = images(channels)
    patches = torch.stack([torch.stack([patch(image, token) for token in range(TOKENS)])
                           for image in inputs])
    wanted = backbone.patch_embed.projection(inputs).flatten(2).transpose(1, 2)
    torch.testing.assert_close(embed_patches(backbone.patch_embed.projection, patches), wanted,
                               rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('channels', COUNTS)
def test_simmims_decoder_is_a_convolution_and_a_shuffle(channels):
    neck = build_host('simmim', in_channels=channels).neck
    tokens = torch.randn(2, TOKENS, 24)
    convolution, shuffle = neck.decoder
    assert isinstance(convolution, nn.Conv2d)
    pictures = shuffle(convolution(tokens.transpose(1, 2).unflatten(2, GRID)))
    assert pictures.shape == (2, channels, *SIZE)
    wanted = torch.stack([patch(pictures[1], token) for token in range(TOKENS)])
    torch.testing.assert_close(neck(tokens)[1], wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize('channels', COUNTS)
def test_gradients_of_each_channel_are_those_of_a_grey_image(channels):
    inputs = images(channels)
    found = AMTHOGGenerator(PATCH, in_channels=channels)(inputs)
    assert found.shape == (3, TOKENS, channels * 9)
    grey = AMTHOGGenerator(PATCH)
    for index in range(channels):
        wanted = grey(inputs[:, index:index + 1].expand(-1, 3, -1, -1))[..., :9]
        torch.testing.assert_close(found[..., 9 * index:9 * index + 9], wanted)


@pytest.mark.parametrize('channels', COUNTS)
def test_maskfeat_and_ibots_encoder_take_them(channels):
    losses = build_host('maskfeat', in_channels=channels).losses(images(channels), plan())
    assert losses['loss'].isfinite()
    encoder = MODELS.build(dict(
        type='amt_mm.IBOTViT', img_size=SIZE, patch_size=PATCH, in_channels=channels,
        arch=dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)))
    inputs = images(channels)
    tokens = encoder.encode(inputs)
    encoder.eval()
    torch.testing.assert_close(encoder(inputs)[0], encoder.encode(inputs))
    changed = inputs.clone()
    changed[:, -1] += 1  # the last channel is seen, too
    assert (encoder.encode(changed) - tokens).abs().max() > 1e-4


@pytest.mark.parametrize('channels', COUNTS)
@pytest.mark.parametrize('dtype', [torch.uint8, torch.float32])
def test_each_channel_has_its_statistics(channels, dtype):
    mean, std = [float(c) for c in range(channels)], [1 + c / 2 for c in range(channels)]
    batch = (images(channels) * 50 + 100).clamp(0, 255).to(dtype)
    for kind, more in (('amt_mm.ChannelsDataPreprocessor', {}), ('amt_mm.AMTDataPreprocessor', dict(
            mask_generator=dict(type='amt_mm.RandomMaskGenerator')))):
        preprocessor = MODELS.build(dict(type=kind, mean=mean, std=std, **more))
        found = preprocessor({'inputs': batch, 'data_samples': []})['inputs']
        for c in range(channels):
            torch.testing.assert_close(found[:, c], (batch[:, c].float() - c) / (1 + c / 2))


@pytest.mark.parametrize('settings', [dict(mean=[1.0]), dict(mean=[1.0, 2], std=[1.0])])
def test_statistics_that_do_not_fit(settings):
    with pytest.raises(InputError, match='one number for each channel'):
        MODELS.build(dict(type='amt_mm.ChannelsDataPreprocessor', **settings))


@pytest.mark.parametrize('channels', [0, -3, 2.0, True, '3'])
def test_a_number_that_is_none(channels):
    with pytest.raises(InputError, match=r'model\.backbone\.in_channels='):
        build_host('mae', in_channels=channels)


def test_three_channels_are_as_ever():
    torch.manual_seed(0)
    given = AMTHOGGenerator(PATCH, in_channels=3)(images(3))
    assert torch.equal(given, AMTHOGGenerator(PATCH)(images(3)))
    assert F.relu(given).shape == (3, TOKENS, 27)
