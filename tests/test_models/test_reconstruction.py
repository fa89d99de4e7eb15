"""Reconstructions with and without the statistics of the true patches, against slow loops."""

import pytest
import torch
from slow_mae import PATCH, make_images, make_plan, pixels, slow_decoder, slow_encoder

from amt_mm.models.reconstruction import reconstruct, statistics_around


@pytest.fixture
def predicted(toy_mae):
    model = toy_mae().double()
    images, plan = make_images(2).double(), make_plan(2)
    with torch.no_grad():
        return model, images, plan, slow_decoder(
            model.neck, slow_encoder(model.backbone, images, plan), plan)


def slow_statistics(images, plan, sample, token):
    """Mean and deviation of a patch, from those of visible patches by inverse squared distance."""
    row, column = divmod(token, plan.grid[1])
    total = mean = deviation = 0
    for other in plan.visible[sample].tolist():
        y, x = divmod(other, plan.grid[1])
        weight = 1 / ((y - row)**2 + (x - column)**2)
        patch = pixels(images, sample, other)
        total, mean = total + weight, mean + weight * patch.mean()
        deviation = deviation + weight * patch.std()
    return mean / total, deviation / total


def test_pictures_equal_a_slow_loop(predicted):
    model, images, plan, wanted = predicted
    found = reconstruct(model, images, plan)
    assert found.errors is None
    own, borrowed = images.clone(), images.clone()
    for sample in range(2):
        for place, token in enumerate(plan.masked[sample].tolist()):
            patch = wanted[sample, place].view(PATCH, PATCH, 3)
            mean, deviation = slow_statistics(images, plan, sample, token)
            pixels(own, sample, token).copy_(patch * deviation + mean)
            true = pixels(images, sample, token)
            pixels(borrowed, sample, token).copy_(patch * (true.var() + 1e-6)**.5 + true.mean())
    torch.testing.assert_close(found.own, own, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.borrowed, borrowed, rtol=1e-9, atol=1e-9)


def test_nothing_that_is_hidden_reaches_the_own_picture(predicted):
    model, images, plan, _ = predicted
    before = reconstruct(model, images, plan)
    changed = images.clone()
    for sample in range(2):
        for token in plan.masked[sample].tolist():
            pixels(changed, sample, token).mul_(3).add_(1)
    after = reconstruct(model, changed, plan)
    assert torch.equal(after.own, before.own)
    assert not torch.allclose(after.borrowed, before.borrowed)


def test_equal_visible_patches_give_their_own_statistics():
    plan = make_plan(2)
    means, deviations = statistics_around(torch.tensor([1., 3., 5.]).expand(2, 35, 3), plan)
    assert means.shape == deviations.shape == (2, 15, 1)
    torch.testing.assert_close(means, torch.full_like(means, 3))
    torch.testing.assert_close(deviations, torch.full_like(means, 2))


def test_pixels_need_nothing(predicted):
    model, images, plan, wanted = predicted
    model.head.norm_pix = False
    found = reconstruct(model, images, plan)
    assert found.borrowed is None
    token = int(plan.masked[1, 4])
    torch.testing.assert_close(pixels(found.own, 1, token), wanted[1, 4].view(PATCH, PATCH, 3))


@pytest.mark.parametrize('norm_pix', [True, False])
def test_targets_that_are_not_told_are_those_that_fit(predicted, norm_pix, monkeypatch):
    model, images, plan, _ = predicted
    images = images * 4 + 20
    target = model.head.normalize_patches(torch.stack(
        [torch.stack([pixels(images, b, t).flatten() for t in plan.masked[b]]) for b in range(2)]))
    if not norm_pix:
        target = torch.stack([torch.stack([pixels(images, b, t).flatten() for t in plan.masked[b]])
                              for b in range(2)])
    model.head.norm_pix = None
    monkeypatch.setattr(model, 'predict', lambda *_: target + .5)
    found = reconstruct(model, images, plan)
    assert (found.borrowed is not None) == norm_pix
    assert min(found.errors) == pytest.approx(.25) and max(found.errors) > 1
    assert found.errors.index(min(found.errors)) == (0 if norm_pix else 1)
