"""AMT's MAE against slow references and against mmpretrain's MAE."""

import copy
import math

import numpy as np
import pytest
import torch
from mmpretrain.registry import MODELS
from slow_mae import (
    COLUMNS,
    PATCH,
    ROWS,
    make_images,
    make_plan,
    pixels,
    slow_decoder,
    slow_encoder,
    slow_loss,
)
from torch import nn

from amt_mm.errors import InputError
from amt_mm.masking import MaskPlan
from amt_mm.models.mae import sincos_position_embedding


def gradients(model, images, plan):
    model.zero_grad()
    loss = model.loss(images, None, plan)['loss']
    loss.backward()
    return loss.detach(), {name: parameter.grad.clone()
                           for name, parameter in model.named_parameters()
                           if parameter.grad is not None}


@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize(('masked', 'thrown'), [(15, 14), (26, 0), (1, 33), (33, 1)])
def test_encoder_and_decoder_equal_the_slow_reference(toy_mae, batch, masked, thrown):
    model = toy_mae().double()
    images, plan = make_images(batch).double(), make_plan(batch, masked, thrown)
    wanted = slow_encoder(model.backbone, images, plan)
    patches = torch.stack([torch.stack([pixels(images, b, t).flatten() for t in range(35)])
                           for b in range(batch)])
    latent = model.backbone.encode(patches, plan)
    assert latent.shape == (batch, 1 + 35 - masked - thrown, 24)
    torch.testing.assert_close(latent, wanted, rtol=1e-11, atol=1e-11)
    predicted = model.neck(wanted, plan)
    assert predicted.shape == (batch, masked, PATCH * PATCH * 3)
    torch.testing.assert_close(predicted, slow_decoder(model.neck, wanted, plan), rtol=1e-11,
                               atol=1e-11)


def test_position_embedding_depends_on_row_and_column(toy_mae):
    width = 24
    found = sincos_position_embedding((ROWS, COLUMNS), width)
    assert found.shape == (1, 1 + ROWS * COLUMNS, width)
    assert not found[0, 0].any()
    # A quarter each: sine and cosine of the row, sine and cosine of the column.
    rates = [10000**(-k / (width // 4)) for k in range(width // 4)]
    for row in range(ROWS):
        for column in range(COLUMNS):
            wanted = [f(x * rate) for x in (row, column) for f in (math.sin, math.cos)
                      for rate in rates]
            np.testing.assert_allclose(found[0, 1 + row * COLUMNS + column], wanted, atol=1e-6)
    model = toy_mae()
    model.init_weights()
    assert torch.equal(model.backbone.pos_embed, found)
    assert torch.equal(model.neck.decoder_pos_embed, sincos_position_embedding((5, 7), 16))


def test_encoder_input_has_the_pixels_and_position_of_each_patch(toy_mae):
    model = toy_mae().double()
    images, plan = make_images().double(), make_plan()
    entering = []
    model.backbone.layers[0].register_forward_pre_hook(lambda _, args: entering.append(args[0]))
    model.loss(images, None, plan)
    weight, bias = model.backbone.patch_embed.projection.weight, \
        model.backbone.patch_embed.projection.bias
    for sample in range(3):
        for place, token in enumerate(plan.visible[sample].tolist()):
            window = pixels(images, sample, token).permute(2, 0, 1)
            wanted = (weight * window).sum(dim=(1, 2, 3)) + bias + \
                model.backbone.pos_embed[0, 1 + token]
            torch.testing.assert_close(entering[0][sample, 1 + place], wanted)


def test_order_of_tokens_within_a_kind_does_not_matter(toy_mae):
    model = toy_mae().double()
    images, plan = make_images().double(), make_plan()
    other = MaskPlan(plan.masked.flip(1), plan.thrown.flip(1), plan.visible.flip(1), plan.grid)
    torch.testing.assert_close(model.loss(images, None, plan), model.loss(images, None, other),
                               rtol=1e-12, atol=0)


def test_thrown_tokens_are_never_computed(toy_mae):
    model = toy_mae()
    seen = {}
    for name, module in (('encoder', model.backbone.layers[0]), ('pixels', model.neck.decoder_pred),
                         ('decoder', model.neck.decoder_blocks[0])):
        module.register_forward_pre_hook(
            lambda _, args, name=name: seen.__setitem__(name, args[0].shape[1]))
    model.loss(make_images(), None, make_plan())
    assert seen == {'encoder': 1 + 6, 'decoder': 1 + 6 + 15, 'pixels': 15}


@pytest.fixture(params=[True, False], ids=['norm_pix', 'raw pixels'])
def pair(request, toy_mae):
    """mmpretrain's MAE and ours with the same config, for 40 x 40 pixels."""
    cfg = toy_mae(build=False, backbone=dict(img_size=40), head=dict(norm_pix=request.param))
    own = copy.deepcopy(cfg)
    own['type'] = 'MAE'
    own['backbone'] |= dict(type='MAEViT', mask_ratio=0.6)
    own['neck'] |= dict(type='MAEPretrainDecoder', num_patches=25, patch_size=8, embed_dim=24)
    own['head'] |= dict(type='MAEPretrainHead', patch_size=8)
    del own['data_preprocessor']
    torch.manual_seed(0)
    theirs = MODELS.build(own)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    return theirs, MODELS.build(cfg)


def test_state_dicts_are_interchangeable(pair):
    theirs, ours = pair
    ours.load_state_dict(theirs.state_dict(), strict=True)
    changed = {key: value + 1 for key, value in ours.state_dict().items()}
    theirs.load_state_dict(changed, strict=True)
    for key, value in theirs.state_dict().items():
        assert torch.equal(value, changed[key]), key


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
@pytest.mark.parametrize('batch', [1, 4])
def test_loss_and_gradients_equal_mmpretrains(pair, dtype, tolerance, batch):
    theirs, ours = (model.to(dtype) for model in pair)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = make_images(batch, 40, 40).to(dtype)
    torch.manual_seed(5)
    _, mask, restore = theirs.backbone(images)
    order = restore.argsort(dim=1)  # mmpretrain: visible tokens first
    kept = int((mask[0] == 0).sum())
    plan = MaskPlan(order[:, kept:], order[:, :0], order[:, :kept], (5, 5))
    assert torch.equal(plan.states().to(dtype), mask)

    torch.manual_seed(5)
    wanted = theirs.loss(images, None)['loss']
    wanted.backward()
    loss, found = gradients(ours, images, plan)
    torch.testing.assert_close(loss, wanted.detach(), rtol=tolerance, atol=0)
    want = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    assert found.keys() == want.keys()
    assert {name for name, _ in ours.named_parameters()} - found.keys() == {
        'backbone.pos_embed', 'neck.decoder_pos_embed'}
    for name in want:
        scale = float(want[name].abs().max())
        torch.testing.assert_close(found[name], want[name], rtol=0, atol=5 * tolerance * scale,
                                   msg=lambda text, name=name: f'{name}: {text}')


def test_initialisation_equals_mmpretrains_for_the_same_seed(pair):
    theirs, ours = pair
    ours.load_state_dict(theirs.state_dict())
    before = copy.deepcopy(ours.state_dict())
    for model in pair:
        torch.manual_seed(7)
        model.init_weights()
    for key, value in theirs.state_dict().items():
        assert torch.equal(value, ours.state_dict()[key]), key
    for key in ('backbone.pos_embed', 'backbone.cls_token', 'neck.mask_token',
                'neck.decoder_pos_embed', 'backbone.patch_embed.projection.weight'):
        assert not torch.equal(before[key], ours.state_dict()[key]), key


def test_unmasked_features_equal_mmpretrains(pair):
    theirs, ours = pair
    ours.load_state_dict(theirs.state_dict())
    images = make_images(2, 40, 40)
    wanted = theirs.backbone(images, mask=None)
    for found in (ours.extract_feat(images), ours(images), ours.backbone(images)):
        assert len(found) == len(wanted) == 1
        assert found[0].shape == (2, 26, 24)
        torch.testing.assert_close(found[0], wanted[0])


@pytest.mark.parametrize('norm_pix', [True, False])
@pytest.mark.parametrize('batch', [1, 3])
def test_loss_is_averaged_over_masked_tokens(toy_mae, norm_pix, batch):
    model = toy_mae(head=dict(norm_pix=norm_pix)).double()
    images, plan = make_images(batch).double(), make_plan(batch)
    found = model(images, None, mode='loss', plan=plan)
    assert found.keys() == {'loss'} and found['loss'].shape == ()
    torch.testing.assert_close(found['loss'], slow_loss(model, images, plan), rtol=1e-11, atol=0)


def repaint(images, ids):
    images = images.clone()
    for sample, tokens in enumerate(ids.tolist()):
        for token in tokens:
            pixels(images, sample, token).add_(1 + torch.rand(PATCH, PATCH, 3))
    return images


def test_thrown_pixels_affect_neither_loss_nor_gradients(toy_mae):
    model = toy_mae()
    images, plan = make_images(), make_plan()
    loss, grads = gradients(model, images, plan)
    other_loss, other_grads = gradients(model, repaint(images, plan.thrown), plan)
    assert not torch.equal(images, repaint(images, plan.thrown))
    assert torch.equal(loss, other_loss)
    for name in grads:
        assert torch.equal(grads[name], other_grads[name]), name
    for ids in (plan.visible, plan.masked):
        assert not torch.equal(loss, gradients(model, repaint(images, ids), plan)[0])


def test_masked_pixels_affect_only_the_loss(toy_mae):
    model = toy_mae()
    images, plan = make_images(), make_plan()
    predictions = []
    model.neck.register_forward_hook(lambda module, args, out: predictions.append(out))
    for given in (images, repaint(images, plan.masked), repaint(images, plan.thrown)):
        model.loss(given, None, plan)
    assert torch.equal(predictions[0], predictions[1])
    assert torch.equal(predictions[0], predictions[2])


class Oracle(nn.Module):
    """A decoder that returns the true patches."""

    def __init__(self, images, norm_pix):
        super().__init__()
        self.images, self.norm_pix = images, norm_pix

    def forward(self, latent, plan):
        out = torch.empty(*plan.masked.shape, PATCH * PATCH * 3)
        for sample, ids in enumerate(plan.masked.tolist()):
            for place, token in enumerate(ids):
                patch = pixels(self.images, sample, token).flatten()
                if self.norm_pix:
                    patch = (patch - patch.mean()) / (patch.var() + 1e-6).sqrt()
                out[sample, place] = patch
        return out


@pytest.mark.parametrize('norm_pix', [True, False])
def test_reconstruct_returns_the_image_for_perfect_predictions(toy_mae, norm_pix):
    model = toy_mae(head=dict(norm_pix=norm_pix))
    images, plan = make_images() * 3 + 5, make_plan()
    images[0, :, :PATCH, :PATCH] = 2.0  # a constant patch has a standard deviation of 0
    model.neck = Oracle(images, norm_pix)
    torch.testing.assert_close(model.reconstruct(images, plan), images, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('norm_pix', [True, False])
def test_reconstruct_changes_only_masked_patches(toy_mae, norm_pix):
    model = toy_mae(head=dict(norm_pix=norm_pix))
    images, plan = make_images(), make_plan()
    found = model.reconstruct(images, plan)
    assert found.shape == images.shape and not found.requires_grad
    prediction = model.neck(slow_encoder(model.backbone, images, plan), plan)
    for sample in range(3):
        masked = plan.masked[sample].tolist()
        for token in range(35):
            before, after = pixels(images, sample, token), pixels(found, sample, token)
            if token not in masked:
                assert torch.equal(before, after)
                continue
            wanted = prediction[sample, masked.index(token)].reshape(PATCH, PATCH, 3)
            if norm_pix:
                wanted = wanted * (before.var() + 1e-6).sqrt() + before.mean()
            torch.testing.assert_close(after, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(('name', 'value'), [
    ('patch_size', 0), ('patch_size', -8), ('patch_size', 8.), ('patch_size', None),
    ('patch_size', True), ('img_size', 0), ('img_size', (40, -8)), ('img_size', (40, 56, 3)),
    ('img_size', None), ('img_size', '40')])
def test_invalid_size_is_named(toy_mae, name, value):
    with pytest.raises(InputError, match=f'^model.backbone.{name}='):
        toy_mae(backbone={name: value})


@pytest.mark.parametrize('size', [(41, 56), (40, 57), 60])
def test_image_size_that_is_not_a_multiple_of_the_patch_is_rejected(toy_mae, size):
    with pytest.raises(InputError, match='patch_size=8'):
        toy_mae(backbone=dict(img_size=size))


def test_mask_ratio_of_the_backbone_is_rejected(toy_mae):
    with pytest.raises(InputError, match='mask_ratio'):
        toy_mae(backbone=dict(mask_ratio=0.75))


@pytest.mark.parametrize(('part', 'field', 'value'), [
    ('neck', 'embed_dim', 32), ('neck', 'patch_size', 16), ('neck', 'num_patches', 36),
    ('neck', 'in_chans', 1), ('neck', 'grid', (7, 5)), ('head', 'patch_size', 16),
    ('head', 'in_channels', 1)])
def test_size_that_contradicts_the_backbone_is_rejected(toy_mae, part, field, value):
    with pytest.raises(InputError, match=rf'model\.{part}\.{field}='):
        toy_mae(**{part: {field: value}})


def test_size_that_agrees_with_the_backbone_is_accepted(toy_mae):
    model = toy_mae(neck=dict(embed_dim=24, patch_size=8, num_patches=35, in_chans=3, grid=[5, 7]),
                    head=dict(patch_size=8, in_channels=3))
    assert model.neck.decoder_pos_embed.shape == (1, 36, 16)


def test_images_of_another_grid_are_rejected(toy_mae):
    # 7 x 5 patches: as many tokens as 5 x 7, but at other positions.
    with pytest.raises(InputError, match='7x5.*5x7'):
        toy_mae().loss(make_images(3, 56, 40), None, make_plan())


def test_missing_plan_is_reported(toy_mae):
    cfg = toy_mae(build=False)
    cfg['data_preprocessor'] = dict(type='SelfSupDataPreprocessor')
    with pytest.raises(InputError, match='AMTDataPreprocessor'):
        MODELS.build(cfg).loss(make_images(), None, None)


@pytest.mark.slow
@pytest.mark.parametrize('arch', ['deit-tiny', 'deit-small', 'b', 'l', 'h'])
@pytest.mark.parametrize(('size', 'patch'), [(224, 16), (224, 14), ((96, 160), 8)])
def test_all_architectures_support_any_grid(arch, size, patch):
    """ViT-T, S, B, L and H, on the meta device, which needs no memory."""
    with torch.device('meta'):
        model = MODELS.build(dict(
            type='amt_mm.AMTMAE', backbone=dict(
                type='amt_mm.AMTMAEViT', arch=arch, img_size=size, patch_size=patch),
            neck=dict(type='amt_mm.AMTMAEDecoder'), head=dict(
                type='amt_mm.AMTMAEHead', norm_pix=True,
                loss=dict(type='PixelReconstructionLoss', criterion='L2')),
            data_preprocessor=dict(type='amt_mm.AMTDataPreprocessor',
                                   mask_generator=dict(type='amt_mm.AMTMaskGenerator'))))
        height, width = (size, size) if isinstance(size, int) else size
        grid = height // patch, width // patch
        plan = MaskPlan.from_order(torch.zeros(2, grid[0] * grid[1], dtype=torch.long), 5, 4, grid)
        patches = torch.zeros(2, grid[0] * grid[1], patch * patch * 3)
        pred = model.neck(model.backbone.encode(patches, plan), plan)
    assert pred.shape == (2, 5, patch * patch * 3)
    images = torch.zeros(2, 3, height, width, device='meta')
    assert model.loss(images, None, plan)['loss'].dim() == 0
