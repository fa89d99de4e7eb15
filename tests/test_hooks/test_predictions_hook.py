"""PredictionsHook: the answers that it keeps are those that the accuracy counts."""

from pathlib import Path

import pytest
import torch
from labelled_toys import VIT, LabelledImages, loader
from mmengine.runner import Runner

from amt_mm.evaluation.kept import kept
from amt_mm.hooks import PredictionsHook

LABELS = [i * 3 % 7 for i in range(11)]
MODEL = {**VIT, 'backbone': {**VIT['backbone'], 'out_type': 'cls_token'},
         'head': dict(type='LinearClsHead', num_classes=7, in_channels=24)}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, '_log_env', lambda *args: None)

    def make(name, dataset, evaluator):
        torch.manual_seed(0)
        return Runner(MODEL, str(tmp_path / name), test_dataloader=loader(dataset), test_cfg={},
                      val_dataloader=loader(dataset), val_cfg={}, val_evaluator=evaluator,
                      test_evaluator=evaluator, custom_hooks=[PredictionsHook()],
                      default_scope='mmpretrain', experiment_name=f'{tmp_path.name}-{name}')

    return make


@pytest.mark.parametrize('part', ['val', 'test'])
def test_the_answers_to_each_image_in_its_place(run, part):
    dataset = LabelledImages(LABELS)
    runner = run(part, dataset, dict(type='Accuracy', topk=1))
    metrics = getattr(runner, part)()
    found = kept(Path(runner.work_dir), 'predictions_accuracy_top1')
    images = torch.stack([dataset[i]['inputs'] for i in range(11)]).float()
    images = (images - runner.model.data_preprocessor.mean) / runner.model.data_preprocessor.std
    with torch.no_grad():
        wanted = runner.model.eval().head((runner.model.backbone(images)[-1], )).argmax(dim=1)
    assert torch.equal(found['predictions'], wanted) and found['labels'].tolist() == LABELS
    right = (found['predictions'] == found['labels']).double().mean().item()
    assert 100 * right == pytest.approx(metrics['accuracy/top1'])


def test_images_without_a_class_are_left_out(run):
    dataset = LabelledImages(LABELS)
    for info in dataset.data_list:
        info.pop('gt_label')
    runner = run('none', dataset, [])
    runner.test()
    assert kept(Path(runner.work_dir), 'predictions_accuracy_top1') is None
