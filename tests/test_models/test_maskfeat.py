"""AMT's MaskFeat against mmpretrain's MaskFeat and slow references."""

import copy
import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

import amt_mm.registry  # noqa: F401, I001  (before mmpretrain: makes torchvision importable)
from amt_mm.config import apply_overlay
from amt_mm.errors import InputError
from amt_mm.guidance import SaliencyUpdateHook
from amt_mm.masking import MaskPlan
from amt_mm.saliency import cls_saliency

ROWS, COLUMNS, PATCH = 5, 7, 8
ARCH = dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)


def config(size=(ROWS * PATCH, COLUMNS * PATCH), patch=PATCH, **changes):
    """Config for 40 x 56 pixels: neither square nor a multiple of the 16-pixel windows."""
    return copy.deepcopy({**dict(
        type='amt_mm.AMTMaskFeat',
        backbone=dict(type='amt_mm.AMTMaskFeatViT', arch=ARCH, img_size=size, patch_size=patch),
        neck=dict(type='LinearNeck', norm_cfg=None),
        head=dict(type='MIMHead', loss=dict(type='PixelReconstructionLoss', criterion='L2')),
        target_generator=dict(type='amt_mm.AMTHOGGenerator'),
        data_preprocessor=dict(
            type='amt_mm.AMTDataPreprocessor', mean=[120.0, 110, 100], std=[60.0, 50, 40],
            mask_generator=dict(type='amt_mm.AMTMaskGenerator', mask_ratio=.3, throw_ratio=.25,
                                warmup_mask_ratio=.4))), **changes})


def build(cfg, seed=0):
    torch.manual_seed(seed)
    model = MODELS.build(cfg)
    # All weights random: zero biases would hide a missing one.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    return model


def make_plan(batch=3, masked=10, thrown=9, grid=(ROWS, COLUMNS), seed=1):
    chance = torch.Generator().manual_seed(seed)
    order = torch.stack([torch.randperm(grid[0] * grid[1], generator=chance)
                         for _ in range(batch)])
    return MaskPlan.from_order(order, masked, thrown, grid)


def make_images(batch=3, height=ROWS * PATCH, width=COLUMNS * PATCH, seed=2):
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def gradients(model, images, plan):
    model.zero_grad()
    loss = model.loss(images, None, plan)['loss']
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters()
                           if p.grad is not None}


def slow_hog(image, patch, pool=8, bins=9, window=16):
    """Compute histograms pixel by pixel, ``(N, 27 * cells ** 2)``."""
    image = image.double()
    _, height, width = image.shape

    def mirror(position, size):
        position = abs(position)
        return 2 * (size - 1) - position if position >= size else position

    def bell(position):
        return math.exp(-0.5 * ((position % window - (window - 1) / 2) / (window // 2))**2)

    cells = torch.zeros(3, bins, height // pool, width // pool, dtype=torch.float64)
    for channel in range(3):
        values = image[channel].tolist()
        for y in range(height):
            for x in range(width):
                near = [[values[mirror(y + dy, height)][mirror(x + dx, width)]
                         for dx in (-1, 0, 1)] for dy in (-1, 0, 1)]
                across = sum(w * (row[0] - row[2]) for w, row in zip((1, 2, 1), near, strict=True))
                down = sum(w * (near[0][i] - near[2][i]) for i, w in enumerate((1, 2, 1)))
                angle = math.floor(math.atan2(across, down) / math.pi * bins) % bins
                cells[channel, angle, y // pool, x // pool] += math.hypot(across, down) * \
                    (bell(y) * bell(x) if window else 1)
    cells = cells / cells.norm(dim=1, keepdim=True)
    side = patch // pool
    return torch.stack([
        cells[:, :, side * i:side * (i + 1), side * j:side * (j + 1)].flatten()
        for i in range(height // patch) for j in range(width // patch)])


@pytest.mark.parametrize(('height', 'width', 'patch'), [(24, 56, 8), (48, 32, 16)])
def test_hog_equals_the_slow_reference_on_any_grid(height, width, patch):
    generator = MODELS.build(dict(type='amt_mm.AMTHOGGenerator', patch_size=patch))
    images = make_images(2, height, width)
    found = generator(images)
    wanted = torch.stack([slow_hog(image, patch) for image in images])
    assert found.shape == (2, height * width // patch**2, 27 * (patch // 8)**2)
    assert found.shape[-1] == generator.channels
    torch.testing.assert_close(found, wanted.float(), rtol=1e-4, atol=1e-5)


def test_hog_equals_mmpretrains_for_14_x_14_patches():
    images = make_images(2, 224, 224)
    wanted = MODELS.build(dict(type='HOGGenerator'))(images)
    found = MODELS.build(dict(type='amt_mm.AMTHOGGenerator'))(images)
    assert found.shape == (2, 196, 108)
    assert torch.equal(found, wanted)


def test_hog_without_a_window():
    generator = MODELS.build(dict(type='amt_mm.AMTHOGGenerator', patch_size=8, gaussian_window=0))
    images = make_images(1, 24, 16)
    wanted = slow_hog(images[0], 8, window=0)
    torch.testing.assert_close(generator(images)[0], wanted.float(), rtol=1e-4, atol=1e-5)


def test_hog_is_computed_in_fp32_under_autocast():
    generator = MODELS.build(dict(type='amt_mm.AMTHOGGenerator', patch_size=8))
    images = make_images(1)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        found = generator(images)
    assert torch.equal(found, generator(images))


def test_patch_that_is_not_a_multiple_of_the_cell_is_rejected():
    with pytest.raises(InputError, match='pool=8.*patch_size=12'):
        MODELS.build(dict(type='amt_mm.AMTHOGGenerator', patch_size=12))


def pair(size, patch):
    """mmpretrain's MaskFeat and ours with the same random weights."""
    ours = config(size, patch)
    theirs = copy.deepcopy(ours)
    theirs['type'] = 'MaskFeat'
    theirs['backbone']['type'] = 'MaskFeatViT'
    theirs['neck'] |= dict(in_channels=24, out_channels=27 * (patch // 8)**2)
    theirs['target_generator'] = dict(type='HOGGenerator')
    del theirs['data_preprocessor']
    theirs, ours = build(theirs), build(ours, seed=3)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-12), (torch.float32, 5e-6)])
@pytest.mark.parametrize(('batch', 'size', 'patch', 'grid'), [
    (2, 112, 8, (14, 14)), (1, 224, 16, (14, 14))])
def test_loss_and_gradients_equal_mmpretrains(dtype, tolerance, batch, size, patch, grid):
    theirs, ours = (model.to(dtype) for model in pair(size, patch))
    for model in (theirs, ours):  # the histograms support fp32 only
        model.target_generator.float().register_forward_pre_hook(lambda _, args: args[0].float())
    images = make_images(batch, size, size).to(dtype)
    plan = make_plan(batch, 78, 0, grid)
    masks = (plan.states() == 1).unflatten(1, grid)
    samples = [DataSample().set_mask(mask.long()) for mask in masks]
    wanted = theirs.loss(images, samples)['loss']
    wanted.backward()
    loss, found = gradients(ours, images, plan)
    torch.testing.assert_close(loss, wanted.detach(), rtol=tolerance, atol=0)
    want = {name: p.grad for name, p in theirs.named_parameters() if p.grad is not None}
    assert found.keys() == want.keys() == {name for name, _ in ours.named_parameters()}
    for name in want:
        scale = float(want[name].abs().max())
        torch.testing.assert_close(found[name], want[name], rtol=0, atol=5 * tolerance * scale,
                                   msg=lambda text, name=name: f'{name}: {text}')


def test_initialisation_equals_mmpretrains_for_the_same_seed():
    theirs, ours = pair(112, 8)
    for model in (theirs, ours):
        torch.manual_seed(7)
        model.init_weights()
    for key, value in theirs.state_dict().items():
        assert torch.equal(value, ours.state_dict()[key]), key


def test_unmasked_features_equal_mmpretrains():
    theirs, ours = pair(112, 8)
    images = make_images(2, 112, 112)
    wanted = theirs.backbone(images, mask=None)
    for found in (ours.extract_feat(images), ours(images)):
        assert len(found) == len(wanted) == 1
        torch.testing.assert_close(found[0], wanted[0])


def slow_tokens(backbone, image, plan, sample):
    """Embed all tokens by mmpretrain, remove the thrown ones and run the blocks."""
    embedded = backbone.patch_embed(image[None])[0][0]
    masked, thrown = plan.masked[sample].tolist(), set(plan.thrown[sample].tolist())
    tokens = {i: (backbone.mask_token[0, 0] if i in masked else embedded[i])
              + backbone.pos_embed[0, 1 + i] for i in range(len(embedded)) if i not in thrown}
    places = list(tokens)
    tokens = torch.stack([backbone.cls_token[0, 0] + backbone.pos_embed[0, 0],
                          *tokens.values()])[None]
    for layer in backbone.layers:
        tokens = layer(tokens)
    return backbone.ln1(tokens)[0, [1 + places.index(i) for i in masked]]


@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize(('masked', 'thrown'), [(10, 9), (14, 0), (1, 33)])
def test_loss_with_throwing_equals_the_slow_reference(batch, masked, thrown):
    model = build(config()).double()
    model.target_generator.float()
    images, plan = make_images(batch).double(), make_plan(batch, masked, thrown)
    errors = []
    for sample in range(batch):
        tokens = slow_tokens(model.backbone, images[sample], plan, sample)
        target = model.target_generator(images[sample:sample + 1])[0]
        for place, token in enumerate(plan.masked[sample].tolist()):
            errors.append((model.neck.fc(tokens[place]) - target[token]).square().mean())
    found = model(images, None, mode='loss', plan=plan)
    assert found.keys() == {'loss'}
    torch.testing.assert_close(found['loss'], sum(errors) / len(errors), rtol=1e-11, atol=0)


def test_thrown_tokens_are_never_computed():
    model = build(config())
    seen = {}
    for name, module in (('encoder', model.backbone.layers[0]), ('predicted', model.neck.fc)):
        module.register_forward_pre_hook(
            lambda _, args, name=name: seen.__setitem__(name, tuple(args[0].shape)))
    model.loss(make_images(), None, make_plan())
    assert seen == {'encoder': (3, 1 + 10 + 16, 24), 'predicted': (3 * 10, 24)}


def repaint(images, ids, margin=0):
    """Change the pixels of some patches, except for a margin."""
    images = images.clone()
    for sample, tokens in enumerate(ids.tolist()):
        for token in tokens:
            y, x = (PATCH * i for i in divmod(token, COLUMNS))
            window = images[sample, :, y + margin:y + PATCH - margin, x + margin:x + PATCH - margin]
            window.add_(1 + torch.rand(window.shape))
    return images


def test_thrown_pixels_do_not_affect_predictions():
    model = build(config())
    images, plan = make_images(), make_plan()
    predictions = []
    model.neck.register_forward_hook(lambda module, args, out: predictions.append(out[0]))
    for given in (images, repaint(images, plan.thrown), repaint(images, plan.masked),
                  repaint(images, plan.visible)):
        model.loss(given, None, plan)
    assert torch.equal(predictions[0], predictions[1])
    assert torch.equal(predictions[0], predictions[2])
    assert not torch.equal(predictions[0], predictions[3])


def test_thrown_pixels_affect_targets_only_within_one_pixel():
    model = build(config())
    images, plan = make_images(), make_plan()
    loss, grads = gradients(model, images, plan)
    inner = gradients(model, repaint(images, plan.thrown, margin=1), plan)
    assert torch.equal(loss, inner[0])
    for name in grads:
        assert torch.equal(grads[name], inner[1][name]), name
    # If the outermost pixels change too, so do the targets of neighbours, and no others.
    before, after = (model.target(x, None, plan) for x in (images, repaint(images, plan.thrown)))
    neighbours = 0
    for sample in range(3):
        thrown = [divmod(i, COLUMNS) for i in plan.thrown[sample].tolist()]
        for place, token in enumerate(plan.masked[sample].tolist()):
            row, column = divmod(token, COLUMNS)
            near = any(abs(row - r) <= 1 and abs(column - c) <= 1 for r, c in thrown)
            neighbours += near
            assert torch.equal(before[sample, place], after[sample, place]) != near
    assert 0 < neighbours < 30


def test_saliency_equals_the_cls_attention_of_whole_images():
    model = build(config())
    images = make_images(2)
    vit = model.backbone
    found = cls_saliency(vit, images)
    with torch.no_grad():
        tokens = torch.cat([vit.cls_token.expand(2, -1, -1), vit.patch_embed(images)[0]], dim=1)
        tokens = vit.layers[0](tokens + vit.pos_embed)
        last = vit.layers[1]
        query, key, _ = last.attn.qkv(last.ln1(tokens)).reshape(2, 36, 3, 3, 8).unbind(dim=2)
        rows = torch.einsum('bhd,bnhd->bhn', query[:, 0], key) / 8**.5
    mean = rows.softmax(dim=-1)[:, :, 1:].mean(dim=1)
    low, high = mean.amin(1, keepdim=True), mean.amax(1, keepdim=True)
    torch.testing.assert_close(found, (mean - low) / (high - low), rtol=1e-4, atol=1e-5)


def test_two_epochs_across_a_refresh(toy_runner):
    runner = toy_runner(model=config(), epochs=2,
                        hooks=[SaliencyUpdateHook(begin=1, interval=1)])
    before = copy.deepcopy(runner.model.state_dict())
    runner.train()
    counts = [tuple(step[kind].shape[1] for kind in ('masked', 'thrown', 'visible'))
              for step in runner.recorder.steps]
    # .40 of 35 patches at random, then .30 masked and .25 thrown by the maps of epoch 1.
    assert counts == 3 * [(14, 0, 21)] + 3 * [(10, 9, 16)]
    assert [step['map_step'] for step in runner.recorder.steps] == 3 * [None] + 3 * [1]
    after = runner.model.state_dict()
    assert all(value.isfinite().all() for value in after.values())
    unmoved = {key for key in before if torch.equal(before[key], after[key])}
    assert all(key.startswith('target_generator.') for key in unmoved), unmoved


@pytest.mark.parametrize(('part', 'field', 'value'), [
    ('neck', 'in_channels', 32), ('neck', 'out_channels', 108),
    ('target_generator', 'patch_size', 16)])
def test_size_that_contradicts_the_backbone_is_rejected(part, field, value):
    cfg = config()
    cfg[part][field] = value
    with pytest.raises(InputError, match=rf'model\.{part}\.{field}={value}'):
        MODELS.build(cfg)


def test_images_of_another_grid_are_rejected():
    with pytest.raises(InputError, match='7x5.*5x7'):
        build(config()).loss(make_images(3, 56, 40), None, make_plan())


def test_image_size_that_is_not_a_multiple_of_the_patch_is_rejected():
    with pytest.raises(InputError, match='patch_size=8'):
        build(config(size=(41, 56)))


@pytest.mark.parametrize(('name', 'guided', 'warm'), [
    ('amt', (58, 49), (78, 0)), ('am', (78, 0), (78, 0)), ('random', (78, 0), (78, 0))])
def test_configs_have_the_documented_counts(name, guided, warm):
    folder = Path(__file__).parents[2] / 'configs/maskfeat'
    cfg = apply_overlay(Config.fromfile(
        folder / f'maskfeat-{name}_vit-base-p16_8xb256-amp-coslr-300e_in1k.py'))
    with torch.device('meta'):
        model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    assert model.neck.fc.out_features == 108
    generator = model.data_preprocessor.mask_generator
    for weights, wanted in ((torch.rand(1, 196), guided), (None, warm)):
        plan = generator(1, (14, 14), weights)
        assert (plan.masked.shape[1], plan.thrown.shape[1]) == wanted
    types = [t['type'] for t in cfg.train_dataloader.dataset.pipeline]
    assert types == ['LoadImageFromFile', 'amt_mm.RandomResizedCropWithBox', 'RandomFlip',
                     'amt_mm.PackInputsWithBox']
