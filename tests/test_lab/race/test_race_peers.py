"""The peers' networks are the size of ours; they run where their packages are installed."""

import pytest
import torch

from lab.race.contestants.plain_mae import PlainMAE
from lab.race.terms import PIXELS

IMAGES = torch.rand(3, 3, PIXELS, PIXELS, generator=torch.Generator().manual_seed(0))


def encoder_size(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


# Six blocks of 12 D^2 + 13 D, patches, the final norm and [CLS], of width D.
SIZE = 6 * (12 * 192**2 + 13 * 192) + 193 * 192 + 2 * 192 + 192


def test_plain():
    model = PlainMAE()
    parts = encoder_size(model.embed), encoder_size(model.blocks), encoder_size(model.norm)
    assert sum(parts) + model.cls.numel() == SIZE


def test_lightly():
    pytest.importorskip('lightly')
    from lab.race.contestants.lightly_mae import LightlyMAE
    model = LightlyMAE()
    # Its encoder has a mask token, too, which MAE does not use.
    assert encoder_size(model.backbone) - model.backbone.mask_token.numel() == SIZE
    assert 1 < model(IMAGES).item() < 3  # targets have variance 1
    assert model.backbone.encode(IMAGES).shape == (3, 65, 192)


def test_transformers():
    pytest.importorskip('transformers')
    from lab.race.contestants.transformers_mae import build_model, patch_tokens
    model = build_model().eval()
    assert encoder_size(model.vit) == SIZE
    assert model.config.norm_pix_loss and 1 < model(IMAGES).loss.item() < 3
    state = torch.get_rng_state()
    tokens = patch_tokens(model, IMAGES)
    assert torch.equal(torch.get_rng_state(), state)
    assert model(IMAGES).mask.mean() == .75
    # In order: without positions, a permutation of the patches permutes the tokens.
    with torch.no_grad():
        model.vit.embeddings.position_embeddings.zero_()
        moved = patch_tokens(model, IMAGES.roll(8, dims=3))
        tokens = patch_tokens(model, IMAGES).unflatten(1, (8, 8)).roll(1, dims=2).flatten(1, 2)
    torch.testing.assert_close(moved, tokens, rtol=1e-3, atol=1e-4)
