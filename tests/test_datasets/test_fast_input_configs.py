import amt_mm.registry  # noqa: F401  isort: skip  before mmpretrain

from pathlib import Path

import pytest
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import DATASETS, TRANSFORMS
from PIL import Image

from amt_mm.config import apply_overlay
from amt_mm.datasets import whole_image_view

CONFIGS = Path(__file__).parents[2] / 'configs'
FAST = ['ReadImage', 'DecodeRandomResizedCrop', 'RandomFlip', 'PackInputsWithBox']


def built(pipeline):
    return [type(TRANSFORMS.build(transform)).__name__ for transform in pipeline]


@pytest.mark.parametrize('baseline', [
    f'{CONFIGS}/mae/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py',
    'mmpretrain::mae/mae_vit-base-p16_8xb512-amp-coslr-300e_in1k.py'])
def test_the_overlay_makes_a_baseline_fast(tmp_path, baseline):
    leaf = tmp_path / 'leaf.py'
    leaf.write_text(f'_base_ = ["{baseline}", "{CONFIGS}/_base_/datasets/fast_input.py"]')
    cfg = apply_overlay(Config.fromfile(leaf))
    assert built(cfg.train_dataloader.dataset.pipeline) == FAST


def test_an_amt_overlay_accepts_the_same_entries(tmp_path):
    leaf = tmp_path / 'leaf.py'
    fragment = Config.fromfile(CONFIGS / '_base_/datasets/fast_input.py')
    leaf.write_text(
        f'_base_ = ["{CONFIGS}/mae/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k.py", '
        f'"{CONFIGS}/_base_/amt/mae-amt.py"]\n'
        f'overlay = dict(transforms={dict(fragment.overlay.transforms)})')
    cfg = apply_overlay(Config.fromfile(leaf))
    assert built(cfg.train_dataloader.dataset.pipeline) == FAST
    assert cfg.model.type == 'amt_mm.AMTMAE'


def test_the_data_set_file_gives_batches(tmp_path):
    cfg = Config.fromfile(CONFIGS / '_base_/datasets/imagenet_bs512_mae_fast.py')
    dataset = cfg.train_dataloader.dataset
    for name in ('a', 'b'):
        (tmp_path / 'n01').mkdir(exist_ok=True)
        Image.new('RGB', (40, 30), (9, 99, 200)).save(tmp_path / f'n01/{name}.JPEG')
    dataset.dataset.update(type='amt_mm.ImageFolder', data_root=str(tmp_path))
    dataset.dataset.pop('split')
    staged = DATASETS.build(dataset)
    assert built(dataset.dataset.pipeline) == FAST
    assert [tuple(s['inputs'].shape) for s in staged.__getitems__([0, 1])] == [(3, 224, 224)] * 2
    assert isinstance(whole_image_view(staged).pipeline, Compose)
