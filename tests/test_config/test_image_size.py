"""overlay.image_size: every pipeline and the backbone."""

import pytest
from mmengine.config import Config

from amt_mm.config import apply_overlay
from amt_mm.config.image_size import pipelines
from amt_mm.errors import InputError
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


def test_pretraining_configs_are_resized():
    cfg = read('simmim/simmim-amt_vit-base-p16_8xb256-amp-coslr-200e_in1k.py', 192)
    crop = next(t for t in cfg.train_dataloader.dataset.pipeline if 'Crop' in t.type)
    assert crop.scale == 192 and cfg.model.backbone.img_size == 192


@pytest.mark.parametrize('size', [
    -8, 0, '', True, '64', (64, 32), dict(size=32), dict(size=32, edge=31),
    dict(size=1, edge=True)])
def test_impossible_sizes_are_refused(size):
    with pytest.raises(InputError, match='overlay.image_size'):
        read('benchmarks/knn/vit-base-p16_knn_stl10.py', size)


def test_a_pipeline_without_a_size_is_refused():
    cfg = Config(dict(model=dict(backbone=dict()), overlay=dict(image_size=64),
                      train_dataloader=dict(dataset=dict(pipeline=[dict(type='PackInputs')]))))
    with pytest.raises(InputError, match='nothing in the pipeline PackInputs'):
        apply_overlay(cfg)
