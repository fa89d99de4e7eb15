"""Going on from a given encoder: what a config takes from its checkpoint."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper

from amt_mm.apis import pretraining
from amt_mm.apis.judging import build_model
from amt_mm.checkpoints.load_backbone import load_backbone
from amt_mm.errors import InputError
from amt_mm.models import RegisterViT


@pytest.fixture
def folder(tmp_path):
    chance = np.random.default_rng(0)
    for i in range(3):
        (tmp_path / 'images').mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / f'images/{i}.png'),
                    chance.integers(0, 255, (70 + i, 90, 3), np.uint8))
    return tmp_path / 'images'


def write_encoder(path, seed=0, **more):
    """DeiT-tiny on 5 x 5 patches of 14 pixels, with the LayerScale of DINOv2."""
    torch.manual_seed(seed)
    vit = RegisterViT(arch='deit-tiny', img_size=70, patch_size=14, layer_scale_init_value=1.,
                      **more)
    state = {f'backbone.{name}': value + .1 for name, value in vit.state_dict().items()}
    torch.save({'state_dict': state}, path)
    return state


@pytest.mark.slow
def test_architecture_and_sizes_are_those_of_the_encoder(folder, tmp_path):
    state = write_encoder(tmp_path / 'a.pth')
    base = pretraining.base_config(folder, pretrained=tmp_path / 'a.pth')
    assert pretraining.look_at_images(base).classes is None
    cfg = pretraining.put_recipe(base, 'continue', 3, crops=12)
    # As many patches as the default small network has: 8 x 8.
    crop = next(t for t in cfg.train_dataloader.dataset.pipeline if 'Crop' in t['type'])
    assert crop['scale'] == 112 and cfg.train_cfg.max_epochs == 4
    model = build_model(cfg)
    assert tuple(model.backbone.grid) == (8, 8)
    assert model.neck.decoder_embed.out_features == 96
    pretrained, average = cfg.custom_hooks[-2:]
    assert (average.type, average.share) == ('amt_mm.StartAverageHook', .25)
    load_backbone(model, pretrained.checkpoint)
    for name in ('layers.3.ffn.gamma2.weight', 'layers.11.attn.qkv.weight'):
        assert torch.equal(model.backbone.state_dict()[name], state[f'backbone.{name}'])
    # Blocks are decayed by .75 each, downwards from the end.
    assert cfg.optim_wrapper.constructor == 'LearningRateDecayOptimWrapperConstructor'
    assert cfg.optim_wrapper.paramwise_cfg.layer_decay_rate == .75
    images = model.data_preprocessor(dict(inputs=torch.randint(0, 256, (2, 3, 112, 112))), True)
    losses = model(**images, mode='loss')
    assert set(losses) == {'loss', 'hog_loss'}
    assert all(value.isfinite() for value in losses.values())


@pytest.mark.slow
def test_another_file_of_the_same_name_is_another_run(folder, tmp_path):
    texts = []
    for seed in (0, 0, 1):
        write_encoder(tmp_path / 'a.pth', seed)
        texts.append(pretraining.base_config(folder, pretrained=tmp_path / 'a.pth').pretty_text)
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.slow
@pytest.mark.parametrize('rotary', [False, True], ids=['DINOv2', 'DINOv3'])
def test_encoders_with_registers(rotary, folder, tmp_path):
    norm = dict(norm_cfg=dict(type='LN', eps=1e-5)) if rotary else {}
    write_encoder(tmp_path / 'a.pth', num_registers=4, rotary=rotary,
                  layer_cfgs=dict(ffn_type='swiglu_fused'), **norm)
    base = pretraining.base_config(folder, pretrained=tmp_path / 'a.pth')
    cfg = pretraining.put_recipe(base, 'continue', 3, crops=12)
    model = build_model(cfg)
    report = load_backbone(model, cfg.custom_hooks[-2].checkpoint)
    assert not report.missing and not report.unexpected
    images = model.data_preprocessor(dict(inputs=torch.randint(0, 256, (2, 3, 112, 112))), True)
    loss, _ = model.parse_losses(model(**images, mode='loss'))
    loss.backward()
    assert model.backbone.pre_norm.tokens.grad.any()
    groups = build_optim_wrapper(model, cfg.optim_wrapper).param_groups
    rates = {id(parameter): (group['lr'], group['weight_decay'])
             for group in groups for parameter in group['params']}
    assert (rates[id(model.backbone.pre_norm.tokens)] == rates[id(model.backbone.cls_token)]
            == (pytest.approx(cfg.optim_wrapper.optimizer.lr * .75**13), 0))


def test_an_encoder_without_cls_is_refused(folder, tmp_path):
    write_encoder(tmp_path / 'a.pth', with_cls_token=False, out_type='avg_featmap')
    with pytest.raises(InputError, match=r'a.pth: MAE cannot start from an encoder without \[CLS'):
        pretraining.base_config(folder, pretrained=tmp_path / 'a.pth')
