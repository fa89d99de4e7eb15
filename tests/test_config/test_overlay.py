"""Overlays: what they change in a baseline config, and which settings win."""

import copy
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from amt_mm.config import apply_overlay
from amt_mm.errors import InputError
from amt_mm.registry import DATASETS, MODELS
from amt_mm.shipped import configs_folder

CONFIGS = Path(__file__).parents[2] / 'configs'
BASELINE = dict(
    model=dict(type='MAE', backbone=dict(type='MAEViT', mask_ratio=0.75, arch='b'),
               neck=dict(type='MAEPretrainDecoder', embed_dim=768),
               head=dict(type='MAEPretrainHead', norm_pix=True)),
    data_preprocessor=dict(type='SelfSupDataPreprocessor', mean=[1, 2, 3], to_rgb=True),
    train_dataloader=dict(
        batch_size=4, dataset=dict(type='CustomDataset', pipeline=[
            dict(type='LoadImageFromFile'), dict(type='RandomResizedCrop', scale=64),
            dict(type='RandomFlip', prob=0.5), dict(type='PackInputs')])))


def overlaid(baseline=None, file='mae-amt.py', **changes):
    """The baseline, changed as a user's own file would, with one of the overlay files."""
    overlay = Config.fromfile(CONFIGS / '_base_' / 'amt' / file)
    cfg = Config(copy.deepcopy(BASELINE if baseline is None else baseline))
    cfg.merge_from_dict(changes)
    cfg.overlay = overlay.overlay
    assert apply_overlay(cfg) is cfg
    return cfg


def types(pipeline):
    return [transform['type'] for transform in pipeline]


def hook_of(cfg, name):
    found = [hook for hook in cfg.custom_hooks if hook['type'].endswith(name)]
    assert len(found) == 1
    return found[0]


def test_types_are_replaced_and_other_fields_stay():
    cfg = overlaid()
    assert 'overlay' not in cfg
    model = cfg.model
    assert [model.type, model.backbone.type, model.neck.type, model.head.type] == [
        f'amt_mm.AMTMAE{part}' for part in ('', 'ViT', 'Decoder', 'Head')]
    assert model.backbone == dict(type='amt_mm.AMTMAEViT', arch='b')
    # Sizes that follow the backbone are dropped, so that one option changes them all.
    assert 'embed_dim' not in model.neck and model.head.norm_pix
    assert cfg.data_preprocessor.type == 'amt_mm.AMTDataPreprocessor'
    assert cfg.data_preprocessor.mean == [1, 2, 3] and cfg.data_preprocessor.to_rgb
    generator = cfg.data_preprocessor.mask_generator
    assert generator == dict(type='amt_mm.AMTMaskGenerator', mask_ratio=0.45, throw_ratio=0.40,
                             warmup_mask_ratio=0.75)
    pipeline = cfg.train_dataloader.dataset.pipeline
    assert types(pipeline) == ['LoadImageFromFile', 'amt_mm.RandomResizedCropWithBox',
                               'RandomFlip', 'amt_mm.PackInputsWithBox']
    assert pipeline[1].scale == 64


@pytest.mark.parametrize('own', [dict(), dict(custom_hooks=[]), dict(custom_hooks=None),
                                 dict(custom_hooks=[dict(type='EMAHook')])])
def test_every_hook_of_the_overlay_joins_those_of_the_config(own):
    """mmpretrain's own configs have no `custom_hooks` at all."""
    cfg = overlaid({**BASELINE, **own})
    assert hook_of(cfg, 'SaliencyUpdateHook') == dict(type='amt_mm.SaliencyUpdateHook', begin=40,
                                                      interval=40)
    assert len(cfg.custom_hooks) == 1 + len(own.get('custom_hooks') or [])


def test_settings_of_the_users_file_win():
    cfg = overlaid(
        data_preprocessor=dict(mask_generator=dict(mask_ratio=0.33, throw='low')),
        custom_hooks=[dict(type='EMAHook', momentum=0.1),
                      dict(type='amt_mm.SaliencyUpdateHook', begin=5, dtype='uint8')])
    assert cfg.data_preprocessor.mask_generator == dict(
        type='amt_mm.AMTMaskGenerator', mask_ratio=0.33, throw_ratio=0.40, throw='low',
        warmup_mask_ratio=0.75)
    assert hook_of(cfg, 'SaliencyUpdateHook') == dict(
        type='amt_mm.SaliencyUpdateHook', begin=5, interval=40, dtype='uint8')
    assert hook_of(cfg, 'EMAHook').momentum == 0.1
    assert len(cfg.custom_hooks) == len({hook['type'] for hook in cfg.custom_hooks})


def test_a_mask_generator_chosen_by_the_user_stays():
    own = dict(type='amt_mm.RandomMaskGenerator', mask_ratio=0.5)
    try:
        cfg = overlaid(data_preprocessor=dict(mask_generator=own))
    except InputError:
        return
    assert cfg.data_preprocessor.mask_generator == own


@pytest.mark.parametrize('where', ['model', 'top', 'both'])
def test_the_data_preprocessor_is_found_in_either_place(where):
    baseline = copy.deepcopy(BASELINE)
    top = baseline.pop('data_preprocessor')
    if where == 'model':
        baseline['model']['data_preprocessor'] = top
    else:
        baseline['data_preprocessor'] = top
    if where == 'both':
        # What users write beside the overlay: in the model, or at the top level.
        baseline['model']['data_preprocessor'] = dict(
            mask_generator=dict(mask_ratio=0.3), mean=[9, 9, 9])
    cfg = overlaid(baseline)
    assert 'data_preprocessor' not in cfg.model
    found = cfg.data_preprocessor
    assert found.type == 'amt_mm.AMTDataPreprocessor' and found.to_rgb
    assert found.mean == ([9, 9, 9] if where == 'both' else [1, 2, 3])
    assert found.mask_generator.mask_ratio == (0.3 if where == 'both' else 0.45)
    assert found.mask_generator.throw_ratio == 0.40


def pipeline():
    return copy.deepcopy(BASELINE['train_dataloader']['dataset']['pipeline'])


@pytest.mark.parametrize('wrap', [
    lambda child: dict(type='RepeatDataset', times=2, dataset=child()),
    lambda child: dict(type='amt_mm.ConcatDataset', datasets=[child(), child()]),
    lambda child: dict(type='RepeatDataset', times=2, dataset=dict(
        type='amt_mm.ConcatDataset', datasets=[child(), dict(
            type='RepeatDataset', dataset=child())]))])
def test_transforms_are_replaced_in_wrapped_data_sets(wrap):
    baseline = copy.deepcopy(BASELINE)
    baseline['train_dataloader']['dataset'] = wrap(
        lambda: dict(type='CustomDataset', pipeline=pipeline()))
    cfg = overlaid(baseline)

    def check(dataset):
        if 'pipeline' in dataset:
            assert types(dataset.pipeline)[1::2] == ['amt_mm.RandomResizedCropWithBox',
                                                     'amt_mm.PackInputsWithBox']
            return 1
        return sum(check(d) for d in [*dataset.get('datasets', []), dataset.get('dataset')] if d)

    assert check(cfg.train_dataloader.dataset) in (1, 2)


def test_a_scope_before_the_transform_is_ignored():
    baseline = copy.deepcopy(BASELINE)
    baseline['train_dataloader']['dataset']['pipeline'][1]['type'] = 'mmpretrain.RandomResizedCrop'
    assert types(overlaid(baseline).train_dataloader.dataset.pipeline)[1] == \
        'amt_mm.RandomResizedCropWithBox'


def test_replacements_that_are_there_already_are_accepted():
    baseline = copy.deepcopy(BASELINE)
    baseline['train_dataloader']['dataset']['pipeline'][1]['type'] = \
        'amt_mm.RandomResizedCropWithBox'
    assert types(overlaid(baseline).train_dataloader.dataset.pipeline)[1] == \
        'amt_mm.RandomResizedCropWithBox'


def test_a_replacement_may_change_fields():
    cfg = Config(copy.deepcopy(BASELINE))
    cfg.overlay = Config.fromfile(CONFIGS / '_base_/amt/mae-amt.py').overlay
    cfg.merge_from_dict({'overlay.transforms.RandomResizedCrop': dict(
        _delete_=True, type='amt_mm.RandomResizedCropWithBox', crop_ratio_range=(.6, 1.))})
    crop = apply_overlay(cfg).train_dataloader.dataset.pipeline[1]
    assert crop == dict(type='amt_mm.RandomResizedCropWithBox', scale=64,
                        crop_ratio_range=(.6, 1.))


@pytest.mark.parametrize('missing', ['RandomResizedCrop', 'PackInputs'])
def test_a_pipeline_without_the_transform_is_refused(missing):
    baseline = copy.deepcopy(BASELINE)
    dataset = baseline['train_dataloader']['dataset']
    dataset['pipeline'] = [t for t in dataset['pipeline'] if t['type'] != missing]
    with pytest.raises(InputError, match=f'no {missing}'):
        overlaid(baseline)


@pytest.mark.parametrize('missing', ['model', 'data_preprocessor'])
def test_an_overlay_without_a_baseline_is_refused(missing):
    baseline = copy.deepcopy(BASELINE)
    del baseline[missing]
    with pytest.raises(InputError, match=f'`{missing}`'):
        overlaid(baseline)


def test_a_config_without_an_overlay_is_left_alone():
    cfg = Config(copy.deepcopy(BASELINE))
    before = cfg.to_dict()
    assert apply_overlay(cfg).to_dict() == before == BASELINE


def test_a_merged_config_stays_as_it_is():
    cfg = overlaid()
    before = cfg.to_dict()
    assert apply_overlay(cfg).to_dict() == before


def test_the_variant_am_masks_by_attention_and_throws_nothing():
    cfg = overlaid(file='mae-am.py')
    assert cfg.data_preprocessor.mask_generator == dict(
        type='amt_mm.AMTMaskGenerator', mask_ratio=0.75, throw_ratio=0.0, warmup_mask_ratio=0.75)
    assert hook_of(cfg, 'SaliencyUpdateHook')


def test_the_variant_random_makes_no_maps():
    cfg = overlaid(file='mae-random.py')
    assert cfg.data_preprocessor.mask_generator == dict(
        type='amt_mm.RandomMaskGenerator', mask_ratio=0.75, throw_ratio=0.0)
    assert not [hook for hook in cfg.get('custom_hooks', []) if 'Saliency' in hook['type']]


def test_the_variant_of_given_maps_asks_for_them():
    cfg = overlaid(file='mae-amt-maps.py')
    assert cfg.custom_hooks == [dict(type='amt_mm.MapsFromFileHook', path=None)]
    assert cfg.data_preprocessor.mask_generator.type == 'amt_mm.AMTMaskGenerator'


def test_the_variant_of_a_given_encoder_asks_for_it():
    cfg = overlaid(file='mae-amt-encoder.py')
    assert cfg.custom_hooks == [dict(type='amt_mm.MapsFromEncoderHook', checkpoint=None)]
    assert cfg.data_preprocessor.mask_generator.type == 'amt_mm.AMTMaskGenerator'


@pytest.mark.parametrize('overlay', ['mae-amt.py', 'mae-am.py', 'mae-random.py'])
def test_mmpretrains_own_mae_becomes_amt_by_one_more_line(tmp_path, overlay):
    """The example of the README; ViT-B is shrunk to be quick."""
    file = tmp_path / 'mine.py'
    file.write_text(f"""_base_ = [
    'mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py',
    '{CONFIGS}/_base_/amt/{overlay}']
model = dict(
    backbone=dict(arch=dict(
        _delete_=True, embed_dims=24, num_layers=1, num_heads=3, feedforward_channels=24)),
    neck=dict(embed_dim=24, decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2))
""")
    cfg = apply_overlay(Config.fromfile(file))
    assert cfg.runner_type == 'amt_mm.OverlayRunner'
    assert '_scope_' not in cfg.train_dataloader.collate_fn
    assert cfg.data_preprocessor.mean == [123.675, 116.28, 103.53]
    crop = cfg.train_dataloader.dataset.pipeline[1]
    assert crop.type == 'amt_mm.RandomResizedCropWithBox'
    assert (crop.scale, crop.crop_ratio_range) == (224, (0.2, 1.0))
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    assert type(model).__name__ == 'AMTMAE' and model.backbone.grid == (14, 14)
    assert model.head.norm_pix and model.data_preprocessor.patch_size == 16
    # Init as in the recipe: Xavier linear layers, as mmpretrain's config says.
    assert [init['type'] for init in model.init_cfg] == ['Xavier', 'Constant']


@pytest.mark.parametrize('order', [1, -1])
def test_the_order_of_the_bases_does_not_matter(tmp_path, order):
    bases = ["'mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'",
             f"'{CONFIGS}/_base_/amt/mae-amt.py'"][::order]
    (tmp_path / 'mine.py').write_text(f'_base_ = [{", ".join(bases)}]')
    cfg = apply_overlay(Config.fromfile(tmp_path / 'mine.py'))
    assert cfg.model.type == 'amt_mm.AMTMAE' and 'overlay' not in cfg


def test_changing_a_hook_that_the_overlay_does_not_have_is_refused():
    cfg = Config(dict(overlay=dict(hooks=dict(saliency=dict(begin=3)))))
    with pytest.raises(InputError, match='no type.*begin'):
        apply_overlay(cfg)


@pytest.mark.parametrize(('overlay', 'named'), [
    (None, 'overlay=None'), (dict(model=None), 'overlay.model=None'),
    (dict(model='MAE'), "overlay.model='MAE'"), (dict(drop='model.neck'), "overlay.drop='model.n"),
    (dict(drop=[1]), 'overlay.drop.0=1'), (dict(hooks=[]), 'overlay.hooks=.. must be a dict'),
    (dict(hooks=dict(saliency=None)), 'overlay.hooks.saliency=None'),
    (dict(hooks=dict(saliency=dict(type=1))), 'overlay.hooks.saliency.type=1'),
    (dict(transforms=dict(PackInputs=1)), 'overlay.transforms.PackInputs=1'),
    (dict(transforms=dict(PackInputs=dict(x=1))), 'overlay.transforms.PackInputs=.* has no type'),
    (dict(labelled=True), 'overlay.labelled=True'),
    (dict(model=dict(type={})), 'overlay.model.type={}'),
    (dict(model=dict(backbone=dict(type=1))), 'overlay.model.backbone.type=1'),
    (dict(custom_hooks=dict()), 'custom_hooks')])
def test_a_section_of_the_wrong_type_is_named(overlay, named):
    cfg = Config(copy.deepcopy({**BASELINE, 'custom_hooks': [], 'overlay': overlay}))
    with pytest.raises(InputError, match=named) as caught:
        apply_overlay(cfg)
    assert '\n' not in str(caught.value)


def test_an_unknown_class_is_refused():
    with pytest.raises(InputError, match="MAEViT by amt_mm.AMTMAEViT.*'MyViT'"):
        overlaid({**BASELINE, 'model': {**BASELINE['model'], 'backbone': dict(type='MyViT')}})


def test_classes_derived_from_the_replacements_are_accepted(tmp_path):
    """The fast input pipeline records its crops, too."""
    path = tmp_path / 'fast.py'
    own = configs_folder() / '_base_'
    path.write_text(f"""
_base_ = ['mmpretrain::_base_/models/mae_vit-base-p16.py',
          'mmpretrain::_base_/default_runtime.py',
          '{own}/datasets/imagenet_bs512_mae_fast.py', '{own}/amt/mae-amt.py']
""")
    cfg = apply_overlay(Config.fromfile(path))
    types = [t.type for t in cfg.train_dataloader.dataset.dataset.pipeline]
    assert types == ['amt_mm.ReadImage', 'amt_mm.DecodeRandomResizedCrop', 'RandomFlip',
                     'amt_mm.PackInputsWithBox']


def test_a_config_inherited_from_the_package_finds_the_classes_of_mmpretrain(tmp_path):
    file = tmp_path / 'mine.py'
    file.write_text("_base_ = 'amt_mm::clothing/mae-amt_vit-mini-p8_1xb128-coslr-30e_clothing.py'")
    cfg = Config.fromfile(file)
    assert "'_scope_': 'amt_mm'" in str(cfg.to_dict())
    cfg = apply_overlay(cfg)
    assert "'_scope_': 'amt_mm'" not in str(cfg.to_dict())
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((20, 30, 3), np.uint8))
    images = DATASETS.build({**cfg.probe.train, 'data_root': str(tmp_path), 'data_prefix': ''})
    assert images[0]['inputs'].shape == (3, 64, 64)
