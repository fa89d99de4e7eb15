"""Prediction of the masked patches from [CLS] alone, against the slow decoder."""

import copy
import math

import pytest
import torch
from slow_mae import make_images, make_plan, pixels, slow_decoder, slow_encoder, slow_loss

from amt_mm.errors import InputError
from amt_mm.masking import MaskPlan
from amt_mm.models import AMTMAE


@pytest.mark.parametrize(('masked', 'thrown'), [(15, 14), (26, 0), (1, 33)])
def test_prediction_from_cls_equals_the_slow_decoder(toy_mae, masked, thrown):
    model = toy_mae(cls_loss_weight=.5).double()
    images, plan = make_images().double(), make_plan(3, masked, thrown)
    blind = MaskPlan(plan.masked, torch.cat([plan.thrown, plan.visible], dim=1),
                     plan.visible[:, :0], plan.grid)
    cls_token = slow_encoder(model.backbone, images, plan)[:, :1]
    wanted = torch.stack([torch.stack([pixels(images, b, t).flatten() for t in ids])
                          for b, ids in enumerate(plan.masked.tolist())])
    wanted = (wanted - wanted.mean(-1, keepdim=True)) / (wanted.var(-1, keepdim=True) + 1e-6)**.5
    errors = (slow_decoder(model.neck, cls_token, blind) - wanted).square()
    losses = model.loss(images, None, plan)
    assert list(losses) == ['loss', 'cls_loss']
    torch.testing.assert_close(losses['cls_loss'], .5 * errors.mean(), rtol=1e-11, atol=0)
    torch.testing.assert_close(losses['loss'], slow_loss(model, images, plan), rtol=1e-11, atol=0)


def test_cls_loss_trains_only_the_cls_token(toy_mae):
    model = toy_mae(cls_loss_weight=1.)
    latent = torch.randn(3, 1 + 6, 24, requires_grad=True)
    found = model.predictions(latent, make_plan())
    assert list(found) == ['loss', 'cls_loss']
    found['cls_loss'].sum().backward()
    assert latent.grad[:, 0].any()
    assert not latent.grad[:, 1:].any()


def test_loss_weights_of_a_subclass_are_kept(toy_mae):
    class Own(AMTMAE):
        loss_weights = {'loss': .25}

    cfg = toy_mae(build=False, cls_loss_weight=.5)
    del cfg['type']
    assert Own(**copy.deepcopy(cfg)).loss_weights == {'loss': .25, 'cls_loss': .5}
    cfg.pop('cls_loss_weight')
    plain = Own(**cfg)
    assert plain.loss_weights == {'loss': .25}
    latent = torch.randn(3, 1 + 6, 24)
    assert list(plain.predictions(latent, make_plan())) == ['loss']


@pytest.mark.parametrize('visible', [2, 5, 7])
def test_latent_that_does_not_fit_the_plan_is_rejected(toy_mae, visible):
    with pytest.raises(RuntimeError, match='must match the size'):
        toy_mae().neck(torch.randn(3, 1 + visible, 24), make_plan())


def test_there_is_one_loss_without_a_weight(toy_mae):
    assert list(toy_mae().loss(make_images(), None, make_plan())) == ['loss']


@pytest.mark.parametrize('weight', [-.1, True, '1', math.inf, math.nan])
def test_invalid_weight_is_rejected(toy_mae, weight):
    with pytest.raises(InputError, match='^model.cls_loss_weight='):
        toy_mae(cls_loss_weight=weight)
