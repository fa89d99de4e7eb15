"""judge: an encoder that knows the labels is perfect, one without information at chance."""

import numpy as np
import pytest
import torch
from conftest import ToyImages
from labelled_toys import LabelledFrames
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmpretrain.registry import DATASETS
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

import amt_mm.datasets  # noqa: F401
from amt_mm.errors import InputError
from amt_mm.evaluation import judge as judge_module
from amt_mm.evaluation.drawing import number_in_class
from amt_mm.evaluation.judge import judge
from amt_mm.models import AMTMAEViT

PIPELINE = [dict(type='Resize', scale=(32, 24)), dict(type='PackInputs')]


@pytest.fixture
def cfg():
    init_default_scope('mmpretrain')
    scenes = dict(type='amt_mm.SceneDataset', image_size=(48, 64), pipeline=PIPELINE)
    return Config(dict(probe=dict(train=dict(num_samples=120, split='train', **scenes),
                                  test=dict(num_samples=57, split='test', **scenes))))


class Oracle(nn.Module):
    """Gives each image the token of its label, which it knows by counting."""

    def __init__(self, knows):
        super().__init__()
        self.backbone = AMTMAEViT(
            arch=dict(embed_dims=12, num_layers=1, num_heads=3, feedforward_channels=12),
            img_size=(24, 32), patch_size=8)
        self.knows, self.seen = knows, 0

    def data_preprocessor(self, batch):
        labels = torch.cat([sample.gt_label for sample in batch['data_samples']])
        images = batch['inputs'].float()
        if self.knows:
            images = images * 0
            images[torch.arange(len(labels)), 0, 0, labels] = 1
        return {'inputs': images}

    def extract_feat(self, images):
        self.backbone(images)  # as its attention is measured
        answer = images[:, 0, 0, :12] if self.knows else torch.ones(len(images), 12)
        return (answer[:, None].expand(-1, 13, -1), )


@pytest.mark.slow
def test_an_encoder_that_knows_is_perfect(cfg):
    result = judge(Oracle(knows=True), cfg, k=5)
    assert result['knn'] == result['linear_cls'] == result['linear_mean'] == 100


@pytest.mark.slow
def test_a_blind_encoder_is_at_chance(cfg):
    result = judge(Oracle(knows=False), cfg, k=5)
    # Features are all the same: one class for all, and classes take turns over 57 images.
    for name in ('knn', 'linear_cls', 'linear_mean'):
        assert result[name] < 20


class Pixels(Oracle):
    """Features are a few pixels, through a fixed mixture."""

    def extract_feat(self, images):
        mixture = torch.randn(192, 12, generator=torch.Generator().manual_seed(0))
        self.backbone(images)
        pixels = images[:, :, ::3, ::4].flatten(1) - 110
        return ((pixels @ mixture).unsqueeze(1).expand(-1, 13, -1), )


@pytest.mark.slow
@pytest.mark.parametrize('folds', [2, 3])
def test_cross_validation_judges_every_image_once(cfg, folds):
    cfg.probe.folds = folds
    model = Pixels(knows=False)
    result = judge(model, cfg, k=1)
    assert set(result) >= {'knn', 'knn_cv', 'linear_mean_cv', 'linear_cls_cv'}
    features, labels, count, correct = [], [], {}, 0
    for part in (cfg.probe.train, cfg.probe.test):
        for sample in DATASETS.build(part):
            image = sample['inputs'].float()[None]
            features.append(model.extract_feat(image)[0][0, 0])
            labels.append(int(sample['data_samples'].gt_label))
    features, labels = torch.stack(features), np.array(labels)
    fold = np.zeros(len(labels), int)
    for i, label in enumerate(labels):
        fold[i] = count.setdefault(label, 0) % folds
        count[label] += 1
    for i in range(folds):
        judge_of_fold = KNeighborsClassifier(1, metric='cosine').fit(
            features[fold != i], labels[fold != i])
        correct += (judge_of_fold.predict(features[fold == i]) == labels[fold == i]).sum()
    assert result['knn_cv'] == pytest.approx(100 * correct / len(labels))
    assert result['knn_cv'] != pytest.approx(result['knn'])


def test_no_file_of_frames_is_on_both_sides(monkeypatch):
    init_default_scope('mmpretrain')
    for part, labels in (('train', [0, 1] * 5), ('test', [0, 1])):
        monkeypatch.setitem(DATASETS.module_dict, part, lambda labels=labels, part=part: (
            LabelledFrames(labels, part, pipeline=PIPELINE)))
    sides = []
    measure = judge_module.measure_features
    monkeypatch.setattr(judge_module, 'measure_features', lambda *args: (
        sides.append((args[3], len(args[1].labels))), measure(*args))[1])
    judge(Oracle(knows=True), Config(dict(probe=dict(
        train=dict(type='train'), test=dict(type='test'), folds=6))))
    assert [files.unique().tolist() for files, _ in sides] == [
        list(range(10)), *([file for file in range(12) if file // 2 != i] for i in range(6))]
    assert {count for _, count in sides} == {20}


@pytest.mark.slow
@pytest.mark.parametrize('folds', [1, 2.0, 1000])
def test_impossible_folds_are_refused_before_encoding(cfg, folds):
    cfg.probe.folds = folds
    with pytest.raises(InputError, match='probe.folds=.* must be an integer from 2 to'):
        judge(None, cfg)


@pytest.mark.slow
def test_test_images_of_other_classes_are_refused(cfg):
    cfg.probe.test.metainfo = dict(classes=list('abcdefghij'))
    with pytest.raises(InputError, match='probe: training and test set have different cla'):
        judge(Oracle(knows=False), cfg)


@pytest.mark.slow
def test_labels_of_only_one_part_are_refused(cfg, monkeypatch):
    monkeypatch.setitem(DATASETS.module_dict, 'NoLabels', lambda: ToyImages(
        [np.zeros((9, 9, 3), np.uint8)], [], serialize_data=False))
    for part, other in (('train', 'test'), ('test', 'train')):
        wrong = Config(cfg.to_dict())
        wrong.probe[part] = dict(type='NoLabels')
        with pytest.raises(InputError, match=f'probe.{part} has images without class labels'):
            judge(Oracle(knows=False), wrong)
        wrong.probe[other] = wrong.probe[part]
        assert judge(Oracle(knows=False), wrong) == {}
        wrong.probe.folds = 5
        with pytest.raises(InputError, match='probe.folds needs images with class labels'):
            judge(Oracle(knows=False), wrong)


@pytest.mark.slow
def test_attention_is_measured_where_there_are_masks(cfg):
    result = judge(Oracle(knows=False), cfg)
    assert 10 < result['object_area'] < 33
    # An untrained encoder attends nearly anywhere, and nowhere more than everywhere.
    assert .3 * result['object_area'] < result['attention_on_object'] < 3 * result['object_area']


def test_the_penalty_is_chosen_on_every_class():
    """Classes that take turns by index must not fall on one side of the choice."""
    for labels in (torch.arange(100) % 10, torch.arange(100) // 10, torch.randint(0, 4, (200, ))):
        held_out = number_in_class(labels) % 5 == 4
        assert set(labels[held_out].tolist()) == set(labels[~held_out].tolist())
        assert held_out.float().mean() == pytest.approx(.2, abs=.02)
