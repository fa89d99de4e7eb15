"""The linear probing of the configs finds what logistic regression finds on the same features."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from sklearn.linear_model import LogisticRegression

from amt_mm.engine import OverlayRunner
from amt_mm.shipped import configs_folder

CLASSES, TRAIN, TEST = 5, 500, 1000
STEPS = [dict(type='amt_mm.LoadImage'), dict(type='PackInputs')]


@pytest.fixture
def folder(tmp_path):
    """Noise with a faint pattern that tells the class, 24x16 pixels."""
    chance = np.random.RandomState(0)
    patterns = chance.randn(CLASSES, 24, 16, 3) * 13
    for part, count in (('train', TRAIN), ('val', TEST)):
        for i in range(count):
            target = tmp_path / part / str(i % CLASSES)
            target.mkdir(parents=True, exist_ok=True)
            image = 128 + patterns[i % CLASSES] + chance.randn(24, 16, 3) * 50
            cv2.imwrite(str(target / f'{i}.png'), image.clip(0, 255).astype(np.uint8))
    return tmp_path


@pytest.mark.slow
def test_accuracy_is_that_of_logistic_regression(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, '_log_env', lambda *args: None)
    cfg = Config.fromfile(
        configs_folder() / 'benchmarks/linear/vit-base-p16_1xb256-linear-coslr-90e_folder.py')
    arch = dict(embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)
    cfg.model.backbone.arch = arch
    cfg.merge_from_dict({
        'model.backbone.img_size': (24, 16), 'model.backbone.patch_size': 8,
        'overlay.labelled.dataset.data_root': str(folder),
        'overlay.labelled.num_classes': CLASSES,
        # The recipe itself stays as it is shipped; no crops, so that there is one set of features.
        'train_dataloader': dict(num_workers=0, dataset=dict(pipeline=STEPS)),
        'val_dataloader': dict(batch_size=300, num_workers=0, dataset=dict(pipeline=STEPS)),
        'test_dataloader': dict(batch_size=300, num_workers=0, dataset=dict(pipeline=STEPS)),
        'train_cfg.val_interval': 90, 'optim_wrapper.type': 'OptimWrapper',
        'default_hooks.checkpoint.interval': 100, 'default_hooks.pretrained.checkpoint': 'none',
        'work_dir': str(tmp_path / 'run'), 'log_level': 'WARNING', 'default_scope': 'mmpretrain'})
    runner = OverlayRunner.from_cfg(cfg)
    runner.train()
    probed = runner.val()['accuracy/top1']

    def features(part):
        loader = runner.build_dataloader(
            {**cfg.test_dataloader, 'dataset': {**cfg.test_dataloader.dataset, 'split': part}})
        found, labels = [], []
        for batch in loader:
            batch = runner.model.data_preprocessor(batch)
            with torch.no_grad():
                found.append(runner.model.extract_feat(batch['inputs'], stage='backbone')[-1])
            labels += [int(sample.gt_label) for sample in batch['data_samples']]
        return torch.cat(found).numpy(), labels

    train, labels = features('train')
    mean, std = train.mean(axis=0), train.std(axis=0)
    regression = LogisticRegression(C=10.0, max_iter=2000).fit((train - mean) / std, labels)
    test, wanted = features('val')
    oracle = 100 * regression.score((test - mean) / std, wanted)
    assert 30 < oracle < 90  # neither guessing nor given away
    assert abs(probed - oracle) <= 1
