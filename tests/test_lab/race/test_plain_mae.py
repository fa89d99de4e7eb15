"""The plain MAE against the paper's formulas, written slowly."""

import math
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

timm = pytest.importorskip('timm')

from lab.race.contestants.plain_mae import Cached, PlainMAE, patchify, rate  # noqa: E402


@pytest.fixture
def images():
    return torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def test_patches_are_cut_row_by_row(images):
    patches = patchify(images)
    assert patches.shape == (3, 64, 192)
    assert torch.equal(patches[1, 8 * 2 + 5], images[1, :, 16:24, 40:48].flatten())


def test_the_loss_is_that_of_hidden_patches_one_by_one(images):
    torch.manual_seed(3)
    model = PlainMAE()
    torch.manual_seed(7)
    loss = model(images).item()
    torch.manual_seed(7)
    order = torch.rand(3, 64).argsort(dim=1)
    total = 0.
    for image, places in zip(images, order, strict=True):
        seen, hidden = places[:16].tolist(), places[16:].tolist()
        cut = [image[:, 8 * (n // 8):8 * (n // 8) + 8, 8 * (n % 8):8 * (n % 8) + 8].flatten()
               for n in range(64)]
        tokens = [model.cls] + [model.embed(cut[n]) + model.places[n] for n in seen]
        latent = model.narrow(model.norm(model.blocks(torch.stack(tokens)[None])))[0]
        whole = [latent[0]] + [
            (latent[1 + seen.index(n)] if n in seen else model.mask) + model.decoder_places[n]
            for n in range(64)]
        predicted = model.decoder(torch.stack(whole)[None])[0, 1:]
        for n in hidden:
            target = (cut[n] - cut[n].mean()) / (cut[n].var(correction=0) + 1e-6).sqrt()
            total += (predicted[n] - target).square().mean().item() / len(hidden)
    assert loss == pytest.approx(total / 3, rel=1e-5)


def test_places_differ_by_row_and_by_column():
    places = PlainMAE().places
    assert places.shape == (64, 192) and len(places.unique(dim=0)) == 64


def test_the_encoder_sees_whole_images_in_order(images):
    model = PlainMAE().eval()
    patches = patchify(images)
    shuffled = torch.randperm(64).expand(3, -1)
    whole, part = model.encode(patches)[:, 1:], model.encode(patches, shuffled)[:, 1:]
    torch.testing.assert_close(part, whole[:, shuffled[0]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('progress, share', [
    (0, 0), (.05, .5), (.1, 1), (.55, .5), (.325, (1 + math.sqrt(.5)) / 2), (1, 0)])
def test_the_rate_warms_up_and_falls_to_zero(progress, share):
    assert rate(progress) == pytest.approx(share, abs=1e-12)


def test_a_photograph_is_decoded_once(tmp_path, monkeypatch):
    Image.new('RGB', (300, 200), 'red').save(tmp_path / 'a.png')
    crops = Cached(SimpleNamespace(folder=tmp_path, train=('a.png', )))
    assert crops[0].shape == (3, 64, 64)
    assert crops.kept[0].size == (192, 128)
    (tmp_path / 'a.png').unlink()
    assert crops[0].shape == (3, 64, 64)
