"""OverlayRunner: from a config file with an overlay to a trained model."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import CROP
from mmengine.config import Config
from mmengine.dataset import RepeatDataset
from mmengine.registry import RUNNERS
from mmengine.runner import Runner

from amt_mm.datasets import ConcatDataset
from amt_mm.engine import OverlayRunner
from amt_mm.errors import InputError
from amt_mm.guidance import SaliencyUpdateHook
from amt_mm.saliency import SaliencyStore

CONFIGS = Path(__file__).parents[2] / 'configs'


@pytest.fixture
def config(tmp_path, monkeypatch):
    """mmpretrain's MAE of ImageNet with the overlay, shrunk to 5 pictures of 2 x 3 patches."""
    monkeypatch.setattr(Runner, '_log_env', lambda *args: None)
    (tmp_path / 'data').mkdir()
    chance = np.random.RandomState(0)
    for i in range(5):
        cv2.imwrite(str(tmp_path / 'data' / f'{i}.png'),
                    chance.randint(0, 256, (40 + i, 60 - i, 3), dtype=np.uint8))

    def make(name='mine', extra=''):
        file = tmp_path / f'{name}.py'
        file.write_text(f"""_base_ = [
    'mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py',
    '{CONFIGS}/_base_/amt/mae-amt.py']
model = dict(
    backbone=dict(img_size=(32, 48), arch=dict(
        _delete_=True, embed_dims=24, num_layers=1, num_heads=3, feedforward_channels=24)),
    neck=dict(embed_dim=24, decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2),
    data_preprocessor=dict(mask_generator=dict(throw_ratio=0.2)))
train_dataloader = dict(
    batch_size=2, num_workers=0, persistent_workers=False,
    dataset=dict(_delete_=True, type='CustomDataset', data_root='{tmp_path}/data',
                 with_label=False, pipeline=[
                     dict(type='LoadImageFromFile'),
                     dict(type='RandomResizedCrop', scale=(32, 48), backend='pillow',
                          interpolation='bicubic'),
                     dict(type='RandomFlip', prob=0.5),
                     dict(type='PackInputs')]))
optim_wrapper = dict(_delete_=True, type='OptimWrapper',
                     optimizer=dict(type='AdamW', lr=1e-3, betas=(0.9, 0.95)))
param_scheduler = []
train_cfg = dict(max_epochs=2)
custom_hooks = [dict(type='amt_mm.SaliencyUpdateHook', begin=1)]
randomness = dict(_delete_=True, seed=0)
log_level = 'WARNING'
work_dir = '{tmp_path}/{name}'
experiment_name = '{tmp_path.name}-{name}'
{extra}
""")
        return Config.fromfile(file)

    return make


@pytest.mark.slow
def test_a_config_of_mmpretrain_trains_with_its_inherited_collate_function(config):
    runner = RUNNERS.build(config())
    assert isinstance(runner, OverlayRunner)
    saliency, = (hook for hook in runner.hooks if isinstance(hook, SaliencyUpdateHook))
    assert (saliency.begin, saliency.interval) == (1, 40)
    preprocessor = runner.model.data_preprocessor
    assert preprocessor.mean.flatten().tolist() == pytest.approx([123.675, 116.28, 103.53])
    assert preprocessor._channel_conversion
    generator = preprocessor.mask_generator
    assert (generator.mask_ratio, generator.throw_ratio) == (0.45, 0.2)
    runner.train()
    store = SaliencyStore(Path(runner.work_dir) / 'saliency' / 'epoch_1.amtmap')
    assert (store.num_samples, store.grid) == (5, (2, 3))
    assert store.lookup(torch.arange(5)).flatten(1).amax(dim=1).tolist() == [1] * 5


@pytest.mark.slow
def test_the_dumped_config_is_the_merged_one_and_gives_the_same_run(config):
    first = RUNNERS.build(config())
    first.train()
    dumped = Path(first.work_dir) / 'mine.py'
    cfg = Config.fromfile(dumped)
    assert 'overlay' not in cfg and cfg.model.type == 'amt_mm.AMTMAE'
    cfg.merge_from_dict(dict(work_dir=f'{first.work_dir}-again',
                             experiment_name=f'{first.experiment_name}-again'))
    second = RUNNERS.build(cfg)
    assert isinstance(second, OverlayRunner)
    second.train()
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name


def test_a_wrong_crop_size_is_one_line(config):
    with pytest.raises(InputError, match='36x48.*patch_size=16'):
        RUNNERS.build(config('wrong', 'model["backbone"]["img_size"] = (36, 48)'))


def test_groups_of_the_optimizer_are_plain_dicts(toy_runner):
    """Lookups in MMEngine's ConfigDict are slow."""
    runner = toy_runner(epochs=1, optim_wrapper=dict(
        type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=.1),
        paramwise_cfg=dict(norm_decay_mult=0.)))
    runner.train()
    groups = runner.optim_wrapper.optimizer.param_groups
    assert len(groups) > 1 and {type(group) for group in groups} == {dict}


@pytest.mark.parametrize('wrap', [
    lambda dataset: dataset, lambda dataset: RepeatDataset(dataset, 2),
    lambda dataset: ConcatDataset([dataset, dataset])])
def test_the_learning_rate_is_scaled_by_the_crops_of_a_step(toy_runner, toy_images, wrap):
    images = toy_images(5, [dict(type='amt_mm.RepeatedCrops', repeats=4, transforms=[
        dict(type='amt_mm.RandomResizedCropWithBox', scale=CROP),
        dict(type='amt_mm.PackInputsWithBox')])])
    runner = toy_runner(
        dataset=wrap(images), loader=dict(collate_fn=dict(type='amt_mm.collate_repeats')))
    optimizer = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.scale_lr(optimizer, dict(base_batch_size=6, enable=True))
    assert optimizer.param_groups[0]['lr'] == pytest.approx(1e-3 * 3 * 4 / 6)
