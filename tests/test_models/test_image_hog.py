"""Histograms of the whole crop against a slow formula, and what their loss trains."""

import math

import numpy as np
import pytest
import torch
from slow_mae import make_images, make_plan

from amt_mm.errors import InputError
from amt_mm.models import ImageHOG
from amt_mm.models.image_hog import oriented_gradients


def slow_histograms(image, cell):
    """Pixel by pixel: (9, rows, columns) of one image, (C, H, W)."""
    grey = image.mean(0)
    height, width = grey.shape
    rows, columns = height // cell, width // cell
    votes = np.zeros((9, rows, columns))
    for y in range(height):
        for x in range(width):
            dx = grey[y, min(x + 1, width - 1)] - grey[y, max(x - 1, 0)]
            dy = grey[min(y + 1, height - 1), x] - grey[max(y - 1, 0), x]
            angle = math.atan2(dy, dx) % math.pi / math.pi * 9
            low = int(angle) % 9
            share = angle - int(angle)
            length = math.hypot(dx, dy) / cell**2
            votes[low, y // cell, x // cell] += (1 - share) * length
            votes[(low + 1) % 9, y // cell, x // cell] += share * length
    energy = (votes**2).sum(0)
    out = np.zeros_like(votes)
    for row in range(rows):
        for column in range(columns):
            around = energy[max(row - 1, 0):row + 2, max(column - 1, 0):column + 2]
            out[:, row, column] = votes[:, row, column] / (math.sqrt(around.mean()) + .05)
    return out


@pytest.mark.parametrize('channels', [1, 3, 5])
def test_histograms_equal_the_slow_formula(channels):
    images = torch.randn(2, channels, 24, 40, generator=torch.Generator().manual_seed(0))
    found = oriented_gradients(images, 8)
    assert found.shape == (2, 9, 3, 5)
    for image, one in zip(images.double().numpy(), found, strict=True):
        np.testing.assert_allclose(one, slow_histograms(image, 8), rtol=2e-4, atol=2e-5)


def test_an_edge_votes_for_its_orientation():
    columns = torch.arange(16.)
    vertical = columns.expand(1, 1, 16, 16)  # brighter to the right: a gradient of 0 degrees
    assert oriented_gradients(vertical, 16).argmax(1).item() == 0
    diagonal = (columns + columns[:, None])[None, None]  # 45 degrees: between bins 2 and 3
    assert set(oriented_gradients(diagonal, 16).flatten().topk(2).indices.tolist()) == {2, 3}
    assert not oriented_gradients(torch.full((1, 3, 16, 16), 7.), 16).any()


def test_autocast_changes_nothing():
    images = torch.randn(1, 3, 16, 24)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        assert torch.equal(oriented_gradients(images, 8), oriented_gradients(images, 8).float())
        half = oriented_gradients(images, 8)
    assert torch.equal(half, oriented_gradients(images, 8))


def test_the_loss_is_that_of_standardised_histograms():
    head = ImageHOG(6, (3, 5), 8).double()
    images, features = torch.randn(2, 3, 24, 40), torch.randn(2, 6).double()
    target = np.stack([slow_histograms(i.double().numpy(), 8).ravel() for i in images])
    target -= target.mean(1, keepdims=True)
    target /= target.std(1, ddof=1, keepdims=True) + 1e-4
    predicted = head.layers(features).detach().numpy()
    assert head(features, images).item() == pytest.approx(
        ((predicted - target)**2).mean(), rel=1e-4)


def test_the_mean_of_the_visible_tokens_is_trained(toy_mae):
    model = toy_mae(hog_loss_weight=.5, backbone=dict(skip_layers=[0])).double()
    images, plan = make_images(3).double(), make_plan(3, 15, 14)
    patches = model.patchify(images)
    tokens = model.backbone.encode(patches, plan)
    losses = model.loss(images, None, plan)
    assert list(losses) == ['loss', 'hog_loss']
    wanted = .5 * model.image_hog(tokens[:, 1:, :24].mean(1), images)
    torch.testing.assert_close(losses['hog_loss'], wanted, rtol=1e-11, atol=0)
    losses['hog_loss'].backward()
    untouched = {name for name, value in model.named_parameters()
                 if value.grad is None or not value.grad.any()}
    assert all(name.startswith('neck.') or not value.requires_grad
               for name, value in model.named_parameters() if name in untouched)


def test_without_a_weight_there_is_no_loss_and_no_parameter(toy_mae):
    model = toy_mae()
    assert list(model.loss(make_images(2), None, make_plan(2, 15, 14))) == ['loss']
    assert not any('hog' in name for name in model.state_dict())


@pytest.mark.parametrize('wrong', [-1, math.inf, True, '1'])
def test_an_invalid_weight_is_named(toy_mae, wrong):
    with pytest.raises(InputError, match='model.hog_loss_weight='):
        toy_mae(hog_loss_weight=wrong)
