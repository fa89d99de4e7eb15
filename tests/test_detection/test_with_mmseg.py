"""UPerNet by mmseg: its configs, a toy run that learns, mean IoU by numpy, and what is missing."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from PIL import Image
from segmentation_toys import write_masked

from amt_mm.config import apply_overlay
from amt_mm.config.reading import read_config
from amt_mm.engine import OverlayRunner
from amt_mm.errors import InputError

CONFIGS = Path(__file__).parents[2] / 'configs/segmentation'
MINI = CONFIGS / 'upernet_vitdet-mini-p8_96px_1xb4-150_coco-mini.py'


@pytest.mark.slow
@pytest.mark.parametrize('path', sorted(CONFIGS.iterdir()), ids=lambda path: path.stem)
def test_config_builds(path):
    cfg = read_config(path)
    if path.stem.endswith('_folder'):
        with pytest.raises(InputError, match='decode_head needs the number .*dataset.num_classes'):
            apply_overlay(read_config(path))
        cfg.merge_from_dict({'overlay.labelled.dataset.num_classes': 7})
    cfg = apply_overlay(cfg)
    init_default_scope('mmseg')
    from mmseg.registry import DATASETS, MODELS, TRANSFORMS
    with torch.device('meta'):
        model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    classes = cfg.train_dataloader.dataset.num_classes
    assert model.num_classes == model.auxiliary_head.num_classes == classes
    assert [layer.window_size for layer in model.backbone.layers] == [0] * len(
        model.backbone.layers)
    for loader, split in ((cfg.train_dataloader, 'train'), (cfg.test_dataloader, 'val')):
        assert DATASETS.get(loader.dataset.type) and loader.dataset.split == split
        assert [TRANSFORMS.build(transform) for transform in loader.dataset.pipeline]
    first, last = cfg.param_scheduler
    assert (first.begin, last.begin, last.end) == (0, first.end, cfg.train_cfg.max_iters)


def numpy_iou(runner, classes):
    """Mean IoU of the model's predictions, from one confusion matrix over the files' own pixels."""
    matrix = np.zeros((classes, classes), int)
    for batch in runner.val_dataloader:
        found = runner.model.val_step(batch)[0]
        mask = np.asarray(Image.open(found.seg_map_path))
        predicted = found.pred_sem_seg.data[0].numpy()
        assert predicted.shape == mask.shape
        for label, answer in zip(mask[mask < 255], predicted[mask < 255], strict=True):
            matrix[label, answer] += 1
    hits = np.diag(matrix)
    return 100 * np.mean(hits / (matrix.sum(axis=0) + matrix.sum(axis=1) - hits))


@pytest.mark.slow
def test_a_toy_learns_and_its_mean_iou_is_that_of_numpy(tmp_path):
    write_masked(tmp_path / 'train', 8, 0)
    write_masked(tmp_path / 'val', 5, 1)
    cfg = read_config(MINI)
    cfg.merge_from_dict({
        'overlay.labelled.dataset': dict(data_root=str(tmp_path), num_classes=3),
        'model.backbone.arch': dict(_delete_=True, embed_dims=24, num_layers=2, num_heads=3,
                                    feedforward_channels=48, global_attn_indexes=[1]),
        'model.neck.in_channels': 24, 'train_cfg.max_iters': 40, 'train_cfg.val_interval': 40,
        'train_dataloader.num_workers': 0, 'val_dataloader.num_workers': 0,
        'train_dataloader.persistent_workers': False, 'val_dataloader.persistent_workers': False,
        'default_hooks.logger.interval': 1, 'default_hooks.pretrained.checkpoint': 'none',
        'work_dir': str(tmp_path / 'run'), 'experiment_name': tmp_path.name})
    runner = OverlayRunner.from_cfg(cfg)
    losses, hook = [], runner.model.parse_losses

    def record(found):
        losses.append(float(found['decode.loss_ce']))
        return hook(found)

    runner.model.parse_losses = record
    runner.train()
    assert len(losses) == 40 and np.mean(losses[-5:]) < .6 * np.mean(losses[:3])
    reported = runner.val_loop.run()['mIoU']
    runner.model.eval()
    assert reported == pytest.approx(numpy_iou(runner, 3), abs=.01) and reported > 40


def test_without_mmseg_or_what_it_imports_one_line_names_the_target(monkeypatch):
    from mmengine.config import config

    monkeypatch.setattr(config, 'is_installed', lambda package: package != 'mmseg')
    with pytest.raises(InputError, match=r': mmseg is not installed: run `make install-detection`'):
        read_config(MINI)
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, 'mmseg.models', None)
    monkeypatch.delitem(sys.modules, 'amt_mm.detection.with_mmseg', raising=False)
    with pytest.raises(InputError, match=r'something is missing .*`make install-detection`') as e:
        read_config(MINI)
    assert '\n' not in str(e.value)
