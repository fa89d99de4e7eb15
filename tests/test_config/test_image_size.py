"""overlay.image_size: every pipeline and the backbone."""

import cv2
import numpy as np
import pytest
from mmcv.transforms import Compose
from mmengine.config import Config, ConfigDict
from mmengine.dataset import default_collate
from mmpretrain.registry import DATASETS, MODELS

from amt_mm.config import apply_overlay
from amt_mm.config.image_size import pipelines, set_image_size
from amt_mm.datasets.whole_image import whole_image_view
from amt_mm.errors import InputError
from amt_mm.evaluation.dataset_features import whole_images
from amt_mm.saliency import cls_attention
from amt_mm.shipped import configs_folder


def read(name, size):
    cfg = Config.fromfile(configs_folder() / name)
    cfg.merge_from_dict({'overlay.image_size': size})
    return apply_overlay(cfg)


@pytest.mark.parametrize('size', [32, 224, 448])
def test_sizes_of_crops_edges_and_backbone(size):
    cfg = read('benchmarks/finetune/vit-base-p16_8xb128-coslr-100e_stl10.py', size)
    assert cfg.model.backbone.img_size == size
    steps = {t.type: t for p in (cfg.train_dataloader.dataset.pipeline,
                                 cfg.test_dataloader.dataset.pipeline) for t in p}
    assert steps['RandomResizedCrop'].scale == size
    assert steps['CenterCrop'].crop_size == size
    assert steps['ResizeEdge'].scale == round(256 * size / 224)
    assert cfg.val_dataloader.dataset.pipeline == cfg.test_dataloader.dataset.pipeline


def test_an_edge_equal_to_the_size_crops_nothing():
    cfg = read('benchmarks/finetune/vit-base-p16_8xb128-coslr-100e_cifar10.py',
               dict(size=32, edge=32))
    steps = {t.type: t for t in cfg.test_dataloader.dataset.pipeline}
    assert steps['ResizeEdge'].scale == steps['CenterCrop'].crop_size == 32
    assert cfg.model.backbone.img_size == 32


def test_training_images_of_knn_and_children_of_a_concatenation_are_resized():
    cfg = read('benchmarks/knn/vit-mini-p8_knn_clothing.py', 40)
    sizes = [t.crop_size for pipeline in pipelines(cfg) for t in pipeline
             if t.type == 'CenterCrop']
    assert sizes == [40, 40, 40]  # validation and test folder, and the training images


def test_images_of_any_probe_hook_are_resized():
    def images():
        return dict(pipeline=[ConfigDict(type='Resize', scale=(64, 64))])

    cfg = read('simmim/simmim-amt_vit-base-p16_8xb256-amp-coslr-200e_in1k.py', 192)
    cfg.default_hooks.label_free = dict(type='amt_mm.LabelFreeProbeHook', images=images())
    cfg.custom_hooks = [dict(type='amt_mm.KNNProbeHook', train=images(), test=images())]
    set_image_size(cfg, 96)
    hooks = cfg.default_hooks.label_free.images, *map(cfg.custom_hooks[0].get, ('train', 'test'))
    assert [hook.pipeline[0].scale for hook in hooks] == [(96, 96)] * 3


def test_pretraining_configs_are_resized():
    cfg = read('simmim/simmim-amt_vit-base-p16_8xb256-amp-coslr-200e_in1k.py', 192)
    crop = next(t for t in cfg.train_dataloader.dataset.pipeline if 'Crop' in t.type)
    assert crop.scale == 192 and cfg.model.backbone.img_size == 192


@pytest.mark.parametrize('size', [
    -8, 0, '', True, '64', (64, 0), (64, ), (64, 32, 3), (64., 32), dict(size=32),
    dict(size=32, edge=31), dict(size=1, edge=True), dict(size=(40, 56), edge=55)])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(InputError, match='overlay.image_size'):
        read('benchmarks/knn/vit-base-p16_knn_stl10.py', size)


@pytest.mark.parametrize('name', ['random', 'centre'])
def test_pipelines_return_images_that_are_not_square(name, toy_images):
    """Upright and wide photographs alike."""
    cfg = read('benchmarks/finetune/vit-base-p16_8xb128-coslr-100e_stl10.py', [48, 80])
    loader = cfg.train_dataloader if name == 'random' else cfg.test_dataloader
    pipeline = Compose([step for step in loader.dataset.pipeline if step.type != 'PackInputs'])
    assert cfg.model.backbone.img_size == (48, 80)
    for height, width in ((201, 90), (90, 201), (33, 47)):
        image = np.random.RandomState(0).randint(0, 256, (height, width, 3), np.uint8)
        assert pipeline(dict(img=image, gt_label=0))['img'].shape == (48, 80, 3)


@pytest.mark.slow
def test_crops_masks_and_maps_are_not_square(tmp_path):
    """From the config to the model's input, the mask of its tokens and the map of its images."""
    chance = np.random.RandomState(0)
    for i in range(3):
        path = tmp_path / f'train/shirt/{i}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), chance.randint(0, 256, (70 + 9 * i, 93, 3), np.uint8))
    name = 'clothing/mae-amt_vit-mini-p8_1xb128-coslr-30e_clothing.py'
    cfg = Config.fromfile(configs_folder() / name)
    cfg.merge_from_dict({'overlay.image_size': (40, 56), 'train_dataloader.dataset.data_root':
                         str(tmp_path), 'train_dataloader.batch_size': 3,
                         'probe.train.data_root': str(tmp_path)})
    cfg = apply_overlay(cfg)
    dataset = DATASETS.build(cfg.train_dataloader.dataset)
    assert DATASETS.build(cfg.probe.train)[0]['inputs'].shape == (3, 40, 56)
    batch = default_collate([dataset[i] for i in range(3)])
    assert batch['inputs'].shape == (3, 3, 40, 56)

    model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    whole = whole_image_view(dataset)
    assert [whole[i]['inputs'].shape for i in range(3)] == [(3, 40, 56)] * 3
    images = next(whole_images(model, whole))
    maps = cls_attention(model.backbone, images).mean(1)
    assert maps.shape == (3, 35) and model.backbone.grid == (5, 7)
    data = model.data_preprocessor(batch, True)
    plan = data['plan']
    assert sum(part.shape[1] for part in (plan.masked, plan.thrown, plan.visible)) == 35
    assert model(**data, mode='loss')['loss'].isfinite()


def test_a_pipeline_without_a_size_is_refused():
    cfg = Config(dict(model=dict(backbone=dict()), overlay=dict(image_size=64),
                      train_dataloader=dict(dataset=dict(pipeline=[dict(type='PackInputs')]))))
    with pytest.raises(InputError, match='nothing in the pipeline PackInputs'):
        apply_overlay(cfg)
