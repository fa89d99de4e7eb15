"""Batch, rate and epochs by the number of images, and schedules that MMEngine accepts."""

import math

import pytest
import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS
from mmpretrain.registry import MODELS

from amt_mm.apis.comparison import resolved
from amt_mm.config.batch_and_epochs import recommended_options
from amt_mm.errors import InputError


@pytest.mark.parametrize(('images', 'batch', 'rate', 'epochs'), [
    (9, 16, 5e-4, 400),
    (2062, 16, 5e-4, 48),  # a folder of photographs
    (3068, 16, 5e-4, 33),
    (10_000, 32, 5e-4 * 2**.5, 20),
    (1_281_167, 512, 5e-4 * 32**.5, 20)])
def test_of_known_sets(images, batch, rate, epochs):
    found = recommended_options(images)
    assert found['train_dataloader.batch_size'] == batch
    assert found['optim_wrapper.optimizer.lr'] == pytest.approx(rate)
    assert found['train_cfg.max_epochs'] == epochs


@pytest.mark.parametrize('images', [1, 15, 16, 700, 4999, 50_000, 300_000])
@pytest.mark.parametrize('crops', [None, 1, 8000, 150_000])
def test_steps_and_crops(images, crops):
    found = recommended_options(images, crops)
    batch, epochs = found['train_dataloader.batch_size'], found['train_cfg.max_epochs']
    assert 16 <= batch <= 512 and math.log2(batch).is_integer()
    wanted = crops or min(max(100_000, 20 * images), 400 * images)
    assert abs(epochs * images - wanted) <= max(images / 2, images - wanted)
    if 16 < batch < 512:
        assert 5000 <= wanted / batch < 10_000
    else:
        assert wanted / batch < 10_000 if batch == 16 else wanted / batch >= 5000


@pytest.mark.parametrize(('images', 'crops'), [
    (1000, 1000), (1000, 2000), (1000, 3000), (1000, 14_000), (1000, 48_000), (12, 120), (12, 360)])
def test_the_rate_warms_up_and_ends_near_zero(images, crops):
    found = recommended_options(images, crops)
    rate = found['optim_wrapper.optimizer.lr']
    steps = min(7, math.ceil(images / found['train_dataloader.batch_size']))
    wrapper = OptimWrapper(torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=rate))
    stages = [dict(stage, epoch_length=steps) for stage in found['param_scheduler']]
    for stage in stages:
        stage.pop('convert_to_iter_based')
        stage.update({key: stage[key] * steps for key in ('begin', 'end', 'T_max') if key in stage},
                     by_epoch=False)
        stage.pop('epoch_length')
    schedulers = [PARAM_SCHEDULERS.build({**stage, 'optimizer': wrapper}) for stage in stages]
    seen = []
    for _ in range(found['train_cfg.max_epochs'] * steps):
        seen.append(wrapper.get_lr()['lr'][0])
        for scheduler in schedulers:
            scheduler.step()
    assert max(seen) == pytest.approx(rate) and seen[-1] < .06 * rate
    top = seen.index(max(seen))
    assert seen[:top + 1] == sorted(seen[:top + 1])
    assert seen[top:] == sorted(seen[top:], reverse=True)
    if len(stages) == 2:
        assert seen[0] < .01 * rate and top <= max(.2 * len(seen), steps)


def test_nothing_to_train_on():
    with pytest.raises(InputError, match='no images'):
        recommended_options(0)
    with pytest.raises(InputError, match='crops=0'):
        recommended_options(10, 0)


@pytest.mark.parametrize('overlay', ['mae', 'continue'])
def test_the_overlay_fits_mmpretrains_config(tmp_path, overlay):
    config = tmp_path / 'own.py'
    config.write_text("_base_ = ['mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py', "
                      f"'amt_mm::_base_/recommended/{overlay}.py']\n")
    cfg = resolved(str(config))
    hooks = [hook['type'] for hook in cfg.get('custom_hooks', [])]
    assert ('amt_mm.PretrainedBackboneHook' in hooks) == (overlay == 'continue')
    assert cfg.optim_wrapper.paramwise_cfg.get('layer_decay_rate') == (
        .75 if overlay == 'continue' else None)
    with torch.device('meta'):
        model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    assert model.backbone.skip_layers == (0, 2)
    assert model.neck.decoder_embed.in_features == 3 * 768
    assert model.neck.cross_attention
    assert model.image_hog.layers[-1].out_features == 9 * 196
    assert model.loss_weights['hog_loss'] == .5
    plan = model.data_preprocessor.mask_generator(2, (14, 14))
    assert [ids.shape[1] for ids in (plan.masked, plan.thrown, plan.visible)] == [49, 98, 49]
