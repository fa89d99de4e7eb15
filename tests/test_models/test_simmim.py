"""AMT's SimMIM against a textbook SimMIM, and its configs."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import RUNNERS, init_default_scope
from mmengine.runner import Runner
from mmpretrain.registry import MODELS
from torch import nn
from torch.nn import functional as F

from amt_mm.config import apply_overlay
from amt_mm.errors import InputError
from amt_mm.guidance import SaliencyUpdateHook
from amt_mm.masking import AMTMaskGenerator, MaskPlan, RandomMaskGenerator, patchify
from amt_mm.saliency import SaliencyStore, cls_saliency

CONFIGS = Path(__file__).parents[2] / 'configs'
RECIPE = 'vit-base-p16_8xb256-amp-coslr-200e_in1k.py'
ROWS, COLUMNS, PATCH, UNIT = 4, 6, 8, 2


@pytest.fixture
def toy_simmim():
    """Factory ``toy_simmim(backbone=..., neck=..., head=...)`` on 4 x 6 patches of 8 pixels."""

    def make(backbone=(), neck=(), head=()):
        torch.manual_seed(0)
        model = MODELS.build(dict(
            type='amt_mm.AMTSimMIM',
            backbone=dict(
                type='amt_mm.AMTSimMIMViT', img_size=(ROWS * PATCH, COLUMNS * PATCH),
                patch_size=PATCH, layer_cfgs=dict(layer_scale_init_value=0.1),
                arch=dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48),
                **dict(backbone)),
            neck=dict(type='amt_mm.AMTSimMIMDecoder', **dict(neck)),
            head=dict(type='amt_mm.AMTSimMIMHead',
                      loss=dict(type='PixelReconstructionLoss', criterion='L1'), **dict(head)),
            data_preprocessor=dict(
                type='amt_mm.AMTDataPreprocessor', mask_generator=dict(
                    type='amt_mm.RandomMaskGenerator', mask_ratio=0.6, unit=UNIT,
                    rounding='ceil'))))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.randn_like(parameter) * 0.2)
        return model

    return make


def make_images(batch=3, seed=2):
    chance = torch.Generator().manual_seed(seed)
    return torch.randn(batch, 3, ROWS * PATCH, COLUMNS * PATCH, generator=chance)


def make_plan(batch=3, mask=0.44, throw=0.26, seed=1):
    """Plan of 6 units: 3 masked, 2 thrown, 1 visible, that is 12, 8 and 4 tokens."""
    generator = RandomMaskGenerator(mask, throw, unit=UNIT, rounding='ceil')
    return generator(batch, (ROWS, COLUMNS), generator=torch.Generator().manual_seed(seed))


class TextbookSimMIM(nn.Module):
    """SimMIM with an image-shaped mask, with the parameters of ours, on the full sequence."""

    def __init__(self, model):
        super().__init__()
        self.backbone, self.convolution = model.backbone, model.neck.decoder[0]

    def reconstruct(self, images, mask):
        """Predict all pixels, (B, C, H, W), with the mask of tokens, (B, h, w)."""
        backbone, (batch, rows, columns) = self.backbone, mask.shape
        tokens = backbone.patch_embed.projection(images).flatten(2).transpose(1, 2)
        mask = mask.flatten(1)[..., None].to(tokens)
        tokens = tokens * (1 - mask) + backbone.mask_token * mask
        tokens = torch.cat([backbone.cls_token.expand(batch, -1, -1), tokens], dim=1)
        tokens = tokens + backbone.pos_embed
        for layer in backbone.layers:
            tokens = self.block(layer, tokens)
        tokens = F.layer_norm(tokens, tokens.shape[-1:], backbone.ln1.weight, backbone.ln1.bias,
                              1e-6)[:, 1:]
        featmap = tokens.transpose(1, 2).reshape(batch, -1, rows, columns)
        return F.pixel_shuffle(self.convolution(featmap), PATCH)

    def forward(self, images, mask):
        reconstruction = self.reconstruct(images, mask)
        mask = mask.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)[:, None].to(images)
        error = (images - reconstruction).abs() * mask
        return error.sum() / (mask.sum() + 1e-5) / images.shape[1]

    @staticmethod
    def block(layer, tokens):
        """Run a pre-norm block with LayerScale on both branches, without drop path."""
        batch, count, width = tokens.shape
        heads = layer.attn.num_heads
        normed = F.layer_norm(tokens, [width], layer.ln1.weight, layer.ln1.bias, 1e-6)
        query, key, value = layer.attn.qkv(normed).reshape(
            batch, count, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        attention = (query @ key.transpose(-2, -1) / math.sqrt(width // heads)).softmax(-1)
        branch = layer.attn.proj((attention @ value).transpose(1, 2).flatten(2))
        tokens = tokens + layer.attn.gamma1.weight * branch
        normed = F.layer_norm(tokens, [width], layer.ln2.weight, layer.ln2.bias, 1e-6)
        branch = layer.ffn.layers[1](F.gelu(layer.ffn.layers[0][0](normed)))
        return tokens + layer.ffn.gamma2.weight * branch


def gradients(model, loss):
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()
            if parameter.grad is not None}


def token_mask(plan):
    """Mark masked tokens by 1, (B, h, w)."""
    mask = torch.zeros(plan.batch_size, ROWS * COLUMNS, dtype=torch.long)
    for sample, ids in enumerate(plan.masked.tolist()):
        mask[sample, ids] = 1
    return mask.reshape(-1, ROWS, COLUMNS)


@pytest.mark.parametrize(('dtype', 'tolerance'), [(torch.float64, 1e-8), (torch.float32, 1e-5)])
@pytest.mark.parametrize('batch', [1, 3])
def test_loss_and_gradients_equal_the_textbook_without_throwing(
        toy_simmim, dtype, tolerance, batch):
    model, images = toy_simmim().to(dtype), make_images(batch).to(dtype)
    plan = make_plan(batch, 0.6, 0)
    assert plan.masked.shape == (batch, 16) and not plan.thrown.numel()
    wanted = TextbookSimMIM(model)(images, token_mask(plan))
    want = gradients(model, wanted)
    loss = model(images, None, mode='loss', plan=plan)['loss']
    found = gradients(model, loss)
    assert loss.shape == ()
    torch.testing.assert_close(loss, wanted, rtol=tolerance, atol=0)
    # All parameters are used, so DDP need not find unused ones.
    assert found.keys() == want.keys() == {name for name, _ in model.named_parameters()}
    for name in want:
        scale = float(want[name].abs().max())
        assert scale > 0, name
        torch.testing.assert_close(found[name], want[name], rtol=0, atol=5 * tolerance * scale,
                                   msg=lambda text, name=name: f'{name}: {text}')


def test_reconstruct_equals_the_textbook_on_masked_patches_and_the_image_elsewhere(toy_simmim):
    model, images, plan = toy_simmim().double(), make_images().double(), make_plan(3, 0.6, 0)
    mask = token_mask(plan)
    wanted = TextbookSimMIM(model).reconstruct(images, mask)
    found = model.reconstruct(images, plan)
    inside = mask.repeat_interleave(PATCH, 1).repeat_interleave(PATCH, 2)[:, None].bool()
    torch.testing.assert_close(found, torch.where(inside, wanted, images))
    assert not found.requires_grad


@pytest.mark.parametrize('batch', [1, 3])
def test_throwing_equals_the_textbook_without_the_thrown_tokens(toy_simmim, batch):
    """Sample by sample, on the sequence without the thrown tokens."""
    model, images, plan = toy_simmim().double(), make_images(batch).double(), make_plan(batch)
    backbone, errors = model.backbone, []
    for sample in range(batch):
        embedded = backbone.patch_embed(images[sample:sample + 1])[0][0]
        masked, thrown = plan.masked[sample].tolist(), plan.thrown[sample].tolist()
        kept = [i for i in range(ROWS * COLUMNS) if i not in thrown]
        tokens = torch.stack([backbone.cls_token[0, 0] + backbone.pos_embed[0, 0]] + [
            (backbone.mask_token[0, 0] if i in masked else embedded[i])
            + backbone.pos_embed[0, 1 + i] for i in kept])[None]
        for layer in backbone.layers:
            tokens = TextbookSimMIM.block(layer, tokens)
        tokens = backbone.ln1(tokens)[0, 1:]
        for i in masked:
            row, column = divmod(i, COLUMNS)
            window = images[sample, :, row * PATCH:(row + 1) * PATCH,
                            column * PATCH:(column + 1) * PATCH]
            pixels = model.neck.decoder(tokens[kept.index(i)].reshape(1, -1, 1, 1))[0]
            errors.append((pixels - window).abs().mean())
    assert plan.thrown.shape == (batch, 8) and len(errors) == batch * 12
    loss = model.loss(images, None, plan)['loss']
    torch.testing.assert_close(loss, sum(errors) / len(errors), rtol=1e-11, atol=0)


def repaint(images, ids):
    images = images.clone()
    for sample, tokens in enumerate(ids.tolist()):
        for row, column in (divmod(token, COLUMNS) for token in tokens):
            images[sample, :, row * PATCH:(row + 1) * PATCH,
                   column * PATCH:(column + 1) * PATCH] += 1
    return images


def test_thrown_pixels_affect_neither_loss_nor_gradients(toy_simmim):
    model, images, plan = toy_simmim(), make_images(), make_plan()
    loss = model.loss(images, None, plan)['loss']
    grads = gradients(model, loss)
    repainted = repaint(images, plan.thrown)
    assert not torch.equal(images, repainted)
    other = model.loss(repainted, None, plan)['loss']
    assert torch.equal(loss, other)
    for name, gradient in gradients(model, other).items():
        assert torch.equal(gradient, grads[name]), name
    for ids in (plan.visible, plan.masked):
        assert not torch.equal(loss, model.loss(repaint(images, ids), None, plan)['loss'])


def test_masked_pixels_affect_only_the_loss(toy_simmim):
    model, images, plan = toy_simmim(), make_images(), make_plan()
    latents = [model.backbone.encode(patchify(given, PATCH), plan)
               for given in (images, repaint(images, plan.masked), repaint(images, plan.visible))]
    assert latents[0].shape == (3, 12, 24)
    assert torch.equal(latents[0], latents[1]) and not torch.equal(latents[0], latents[2])
    assert model.predict(latents[0], plan).shape == (3, 12, PATCH * PATCH * 3)


def test_order_of_tokens_within_a_kind_does_not_matter(toy_simmim):
    model, images, plan = toy_simmim().double(), make_images().double(), make_plan()
    other = MaskPlan(plan.masked.flip(1), plan.thrown.flip(1), plan.visible.flip(1), plan.grid)
    torch.testing.assert_close(model.loss(images, None, plan), model.loss(images, None, other),
                               rtol=1e-12, atol=0)


def test_saliency_and_features_use_all_tokens(toy_simmim):
    model, images = toy_simmim(), make_images(2)
    features, = model.extract_feat(images)
    assert features.shape == (2, 1 + ROWS * COLUMNS, 24)
    plan = MaskPlan.from_order(torch.arange(24).expand(2, -1), 0, 0, (ROWS, COLUMNS))
    entered = []
    model.backbone.layers[-1].register_forward_pre_hook(lambda _, args: entered.append(args[0]))
    assert model.backbone.encode(patchify(images, PATCH), plan).shape == (2, 0, 24)
    model.extract_feat(images)
    torch.testing.assert_close(*entered, rtol=1e-4, atol=1e-5)
    saliency = cls_saliency(model.backbone, images)
    assert saliency.shape == (2, 24)
    assert saliency.amax(dim=1).tolist() == [1, 1] and saliency.amin(dim=1).tolist() == [0, 0]


def test_weights_load_into_mmpretrains_classes(toy_simmim):
    model, images = toy_simmim(), make_images(2)
    vit = MODELS.build(dict(
        type='VisionTransformer', img_size=(32, 48), patch_size=PATCH, out_type='raw',
        layer_scale_init_value=0.1,
        arch=dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)))
    answer = vit.load_state_dict(model.backbone.state_dict(), strict=False)
    assert (answer.missing_keys, answer.unexpected_keys) == ([], ['mask_token'])
    torch.testing.assert_close(vit(images)[0], model.extract_feat(images)[0])
    decoder = MODELS.build(dict(type='SimMIMLinearDecoder', in_channels=24, encoder_stride=PATCH))
    decoder.load_state_dict(model.neck.state_dict(), strict=True)


def test_drop_path_applies_only_in_training_and_increases_with_depth(toy_simmim):
    model, images, plan = toy_simmim(dict(drop_path_rate=0.5)), make_images(), make_plan()
    assert [layer.attn.out_drop.drop_prob for layer in model.backbone.layers] == [0, 0.5]
    assert [layer.ffn.dropout_layer.drop_prob for layer in model.backbone.layers] == [0, 0.5]
    losses = {float(model.loss(images, None, plan)['loss'].detach()) for _ in range(8)}
    assert len(losses) > 1
    for module in model.modules():
        module.training = False
    losses = {float(model.loss(images, None, plan)['loss'].detach()) for _ in range(3)}
    plain = toy_simmim()
    plain.load_state_dict(model.state_dict())
    assert losses == {float(plain.loss(images, None, plan)['loss'].detach())}


def test_initialisation_is_truncated_normal_with_scaled_residual_branches(toy_simmim):
    model = toy_simmim()
    model.init_weights()
    backbone = model.backbone
    for depth, layer in enumerate(backbone.layers, start=1):
        for linear, scale in ((layer.attn.qkv, 1), (layer.ffn.layers[0][0], 1),
                              (layer.attn.proj, math.sqrt(2 * depth)),
                              (layer.ffn.layers[1], math.sqrt(2 * depth))):
            # 576 to 1728 numbers: 10 % is over three standard errors of a deviation.
            assert float(linear.weight.detach().std()) == pytest.approx(.02 / scale, rel=.1)
            assert not linear.bias.any()
    assert not backbone.patch_embed.projection.bias.any()
    for parameter in (backbone.pos_embed, backbone.patch_embed.projection.weight):
        assert float(parameter.detach().std()) == pytest.approx(.02, rel=.1)
    for parameter in (backbone.mask_token, backbone.cls_token):
        assert 0 < float(parameter.abs().max()) < .1


def test_pretrained_encoder_is_not_initialised(toy_simmim, tmp_path):
    source = toy_simmim()
    torch.save({'state_dict': source.backbone.state_dict()}, tmp_path / 'encoder.pth')
    model = toy_simmim(dict(
        init_cfg=dict(type='Pretrained', checkpoint=str(tmp_path / 'encoder.pth'))))
    torch.nn.init.ones_(model.backbone.pos_embed)
    model.init_weights()
    for name, value in source.backbone.state_dict().items():
        assert torch.equal(value, model.backbone.state_dict()[name]), name


@pytest.mark.parametrize(('part', 'field', 'value'), [
    ('neck', 'in_channels', 32), ('neck', 'encoder_stride', 16), ('head', 'patch_size', 16)])
def test_size_that_contradicts_the_backbone_is_rejected(toy_simmim, part, field, value):
    with pytest.raises(InputError, match=rf'model\.{part}\.{field}='):
        toy_simmim(**{part: {field: value}})


def test_image_that_is_not_a_multiple_of_the_patch_is_rejected():
    with pytest.raises(InputError, match='41x56.*patch_size=8'):
        MODELS.build(dict(type='amt_mm.AMTSimMIMViT', img_size=(41, 56), patch_size=8))


# Masked and thrown of 49 units; tokens that enter in addition to [CLS].
@pytest.mark.parametrize(('name', 'masked', 'thrown', 'entering'), [
    ('simmim', 30, 0, 196), ('simmim-am', 30, 0, 196), ('simmim-amt', 22, 13, 144),
    ('simmim-amt-33-50', 17, 25, 96)])
def test_configs_have_the_papers_counts(name, masked, thrown, entering):
    init_default_scope('mmpretrain')
    cfg = apply_overlay(Config.fromfile(CONFIGS / 'simmim' / f'{name}_{RECIPE}'))
    with torch.device('meta'):  # shapes without memory
        model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    generator = model.data_preprocessor.mask_generator
    assert isinstance(generator, RandomMaskGenerator if name == 'simmim' else AMTMaskGenerator)
    warm, guided = generator(2, (14, 14)), generator(2, (14, 14), torch.rand(2, 196))
    assert warm.masked.shape == (2, 4 * 30) and warm.thrown.shape == (2, 0)
    assert guided.masked.shape == (2, 4 * masked) and guided.thrown.shape == (2, 4 * thrown)
    seen = []
    for module in (model.backbone.layers[0], model.backbone.layers[-1], model.neck):
        module.register_forward_pre_hook(lambda _, args: seen.append(tuple(args[0].shape[:2])))
    meta = MaskPlan(*(ids.to('meta') for ids in (guided.masked, guided.thrown, guided.visible)),
                    guided.grid)
    model.loss(torch.zeros(2, 3, 224, 224, device='meta'), None, meta)
    assert seen == [(2, 1 + entering), (2, 1 + entering), (2, 4 * masked)]
    # LayerScale .1 and drop path .1 in the last block.
    block = model.backbone.layers[-1]
    assert block.attn.gamma1.weight.shape == block.ffn.gamma2.weight.shape == (768, )
    assert block.attn.out_drop.drop_prob == block.ffn.dropout_layer.drop_prob == 0.1
    assert cfg.model.backbone.layer_cfgs.layer_scale_init_value == 0.1
    assert cfg.optim_wrapper.optimizer.lr == pytest.approx(4e-4)


@pytest.fixture
def shrunk(tmp_path, monkeypatch):
    """The four base files of a config, for 5 images of 4 x 6 patches and a refresh at epoch 1."""
    monkeypatch.setattr(Runner, '_log_env', lambda *args: None)
    (tmp_path / 'data').mkdir()
    chance = np.random.RandomState(0)
    for i in range(5):
        cv2.imwrite(str(tmp_path / 'data' / f'{i}.png'),
                    chance.randint(0, 256, (70 + i, 100 - i, 3), dtype=np.uint8))

    def make(overlay):
        file = tmp_path / f'{overlay}.py'
        file.write_text(f"""_base_ = [
    '{CONFIGS}/_base_/models/simmim_vit-base-p16.py',
    '{CONFIGS}/_base_/datasets/imagenet_bs256_simmim_224.py',
    '{CONFIGS}/_base_/schedules/simmim_adamw-coslr-200e.py',
    '{CONFIGS}/_base_/amt/simmim-{overlay}.py']
model = dict(backbone=dict(img_size=(64, 96), arch=dict(
    _delete_=True, embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=24)))
pipeline = _base_.train_pipeline
pipeline[1]['scale'] = (64, 96)
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=dict(
    _delete_=True, type='CustomDataset', data_root='{tmp_path}/data', with_label=False,
    serialize_data=False, pipeline=pipeline))
optim_wrapper = dict(type='OptimWrapper')
train_cfg = dict(max_epochs=2)
overlay = dict(hooks=dict(saliency=dict(begin=1)))
randomness = dict(_delete_=True, seed=0)
resume = False
log_level = 'WARNING'
work_dir = '{tmp_path}/{overlay}'
experiment_name = '{tmp_path.name}-{overlay}'
""")
        cfg = Config.fromfile(file)
        del cfg.optim_wrapper.loss_scale  # mixed precision needs an accelerator
        return cfg

    return make


def test_two_epochs_across_a_refresh(shrunk):
    runner = RUNNERS.build(shrunk('amt'))
    saliency, = (hook for hook in runner.hooks if isinstance(hook, SaliencyUpdateHook))
    assert (saliency.begin, saliency.interval) == (1, 40)
    steps, backbone = [], runner.model.backbone
    backbone.layers[0].register_forward_pre_hook(
        lambda _, args: steps.append((runner.epoch, args[0].shape[1] - 1))
        if backbone.training else None)  # off while saliency is refreshed
    before = backbone.mask_token.detach().clone()
    runner.train()
    # 24 tokens in 6 units: all enter during the warm-up, 4 units after the refresh.
    assert steps == [(0, 24)] * 3 + [(1, 16)] * 3
    assert not torch.equal(before, backbone.mask_token)
    store = SaliencyStore(Path(runner.work_dir) / 'saliency' / 'epoch_1.amtmap')
    assert (store.num_samples, store.grid) == (5, (4, 6))
    # No weight decay of vectors, position embeddings and [CLS].
    groups = [group for group in runner.optim_wrapper.optimizer.param_groups
              if group['weight_decay'] == 0]
    spared = {id(p) for group in groups for p in group['params']}
    for name, parameter in runner.model.named_parameters():
        wanted = parameter.dim() == 1 or name in ('backbone.pos_embed', 'backbone.cls_token')
        assert (id(parameter) in spared) == wanted, name
