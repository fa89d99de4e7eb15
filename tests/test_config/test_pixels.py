"""overlay.pixels: every pipeline, the backbone and the preprocessor of every kind of config."""

import copy

import numpy as np
import pytest
from deep_images import values, write_bands
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmpretrain.registry import DATASETS, MODELS

from amt_mm.apis.pretraining import base_config, put_recipe
from amt_mm.config import apply_overlay
from amt_mm.config.image_size import pipelines
from amt_mm.errors import InputError
from amt_mm.shipped import configs_folder

PIXELS = dict(channels=6, window=(0, 4000), mean=[100.0] * 6, std=[50.0] * 6)


@pytest.fixture
def folder(tmp_path):
    for index in range(6):
        path = tmp_path / 'images' / 'ab'[index % 2] / f'{index}.tif'
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bands(path, values((6, 70, 90), 'uint16', 4000, seed=index))
    return tmp_path / 'images'


def read(name, **pixels):
    cfg = Config.fromfile(configs_folder() / name)
    cfg.merge_from_dict({'overlay': {'pixels': {**PIXELS, **pixels}}})
    return apply_overlay(cfg)


@pytest.mark.slow
@pytest.mark.parametrize('recipe', ['recommended', 'mae', 'amt'])
def test_a_step_on_six_bands(folder, tmp_path, recipe):
    (tmp_path / 'pixels.py').write_text(f'overlay = dict(pixels={PIXELS})')
    cfg = put_recipe(base_config(folder, pixels=tmp_path / 'pixels.py'), recipe, 6)
    assert cfg.pixels == PIXELS
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    batch = default_collate([dataset[index] for index in range(3)])
    assert batch['inputs'].shape == (3, 6, 64, 64)
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    data = model.data_preprocessor(batch, training=True)
    loss = model(**data, mode='loss')['loss']
    loss.backward()
    assert model.backbone.patch_embed.projection.weight.grad[:, 5].abs().sum() > 0
    test = DATASETS.build(cfg.probe.test)
    assert test[0]['inputs'].shape == (6, 64, 64)
    # Normalised as if computed by hand from the file.
    raw = np.stack([values((6, 70, 90), 'uint16', 4000, seed=index) for index in range(6)])
    wanted = raw.mean() / 4000 * 255
    assert abs(float(batch['inputs'].float().mean()) - wanted) < 4


def test_mmpretrains_own_mae_takes_them(folder):
    cfg = Config.fromfile(configs_folder() / 'pretrain/mae_vit-mini-p8_folder.py')
    cfg.merge_from_dict({'overlay': {'pixels': PIXELS},
                         'train_dataloader.dataset.data_root': str(folder)})
    cfg = apply_overlay(cfg)
    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    data = model.data_preprocessor(default_collate([dataset[0], dataset[1]]), training=True)
    assert model(**data, mode='loss')['loss'].isfinite()


@pytest.mark.parametrize('name', [
    'benchmarks/knn/vit-base-p16_knn_folder.py',
    'benchmarks/segmentation/vit-base-p16_segmentation_folder.py',
    'attmask/ibot-attmask-high_vit-small-p16_4xb60-amp-coslr-100e_in1k.py',
    'benchmarks/finetune/vit-base-p16_8xb128-coslr-100e_folder.py'])
def test_all_pipelines_load_pixels_and_none_changes_colours(name, capsys):
    cfg = read(name)
    found = list(pipelines(cfg))
    assert found
    for pipeline in found:
        assert dict(type='amt_mm.LoadPixels', channels=6, window=(0, 4000)) in pipeline[:2]
        text = str(pipeline)
        assert not any(word in text for word in ('ColorJitter', 'RandAugment', 'Grayscale',
                                                 'Solarize', "'pillow'"))
    assert cfg.model.backbone.patch_cfg.in_channels == 6
    if 'attmask' in name or 'finetune' in name:
        assert 'warning: pixels: left out ' in capsys.readouterr().err


def test_folders_are_searched_for_arrays_and_dicom(tmp_path):
    np.save(tmp_path / 'a.npy', np.zeros((70, 90, 6), np.uint16))
    cfg = read('pretrain/mae_vit-mini-p8_folder.py')
    dataset = DATASETS.build({**cfg.probe.train, 'data_root': str(tmp_path), 'split': None})
    assert dataset[0]['inputs'].shape == (6, 64, 64)


@pytest.mark.parametrize(('change', 'message'), [
    (dict(chanels=6), 'overlay.pixels.chanels is unknown'),
    (dict(mean=[1.0] * 5), r'overlay\.pixels\.mean=.* must have 6 numbers'),
    (dict(std=[0.0] * 6), r'overlay\.pixels\.std=.* must have 6 positive numbers'),
    (dict(mean=[float('nan')] * 6), 'must have 6 numbers'),
    (dict(window=(3, 2)), 'pixels.window'), (dict(channels=0), 'pixels.channels'),
    (dict(pages='frame'), 'pixels.pages')])
def test_what_cannot_be_is_named(change, message):
    with pytest.raises(InputError, match=message):
        read('pretrain/mae_vit-mini-p8_folder.py', **change)


@pytest.mark.parametrize('missing', ['channels', 'mean', 'std'])
def test_what_is_missing_is_named(missing):
    cfg = Config.fromfile(configs_folder() / 'pretrain/mae_vit-mini-p8_folder.py')
    pixels = copy.deepcopy(PIXELS)
    del pixels[missing]
    cfg.merge_from_dict({'overlay': {'pixels': pixels}})
    with pytest.raises(InputError, match=f'overlay.pixels has no {missing}'):
        apply_overlay(cfg)


def test_the_fast_pipeline_refuses_in_one_line():
    cfg = Config.fromfile(configs_folder() / 'pretrain/mae_vit-mini-p8_folder.py')
    cfg.train_dataloader.dataset.pipeline[0]['type'] = 'amt_mm.ReadImage'
    cfg.merge_from_dict({'overlay': {'pixels': PIXELS}})
    with pytest.raises(InputError, match='ReadImage decodes only 8-bit photographs'):
        apply_overlay(cfg)


def test_images_in_memory_have_no_files():
    with pytest.raises(InputError, match='nothing in the pipeline .* loads files'):
        read('pretrain/mae_vit-mini-p8_scenes.py')
