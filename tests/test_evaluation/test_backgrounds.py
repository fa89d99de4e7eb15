"""ImageNet-9: from the folders of the archive and the authors' mapping to the gap."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmpretrain.registry import DATASETS
from mmpretrain.structures import DataSample

from amt_mm.config import apply_overlay
from amt_mm.errors import InputError
from amt_mm.registry import METRICS

CONFIG = next((Path(__file__).parents[2] / 'configs/benchmarks/linear').glob('*_in9.py'))
PIPELINE = [dict(type='amt_mm.LoadImage'), dict(type='PackInputs')]
# 6 classes of the classifier, of which 2 and 4 are dogs, 5 is a fish, 0 and 1 are in no class.
MAPPING = {'0': -1, '1': -1, '2': 0, '3': 1, '4': 0, '5': 8}
# Variation -> class folder -> what the classifier answers for each image.
ANSWERS = {'original': {'00_dog': [2, 4, 2], '08_fish': [5]},
           'mixed_same': {'00_dog': [4, 2, 1], '08_fish': [5, 5]},
           'mixed_rand': {'00_dog': [3, 2], '08_fish': [0, 2, 5]},
           'only_bg_b': {'00_dog': [5], '08_fish': [4]}}
WANTED = {'original': 100, 'mixed_same': 80, 'mixed_rand': 40, 'only_bg_b': 0, 'bg_gap': 40}


@pytest.fixture
def root(tmp_path):
    for variation, classes in ANSWERS.items():
        for name, answers in classes.items():
            # The training part of the archives is not for testing.
            for part, count in (('val', len(answers)), ('train', 1)):
                folder = tmp_path / variation / part / name
                folder.mkdir(parents=True)
                for i in range(count):
                    cv2.imwrite(str(folder / f'{i}.JPEG'), np.zeros((9, 7, 3), np.uint8))
    (tmp_path / 'in_to_in9.json').write_text(json.dumps(MAPPING))
    return tmp_path


def build(root, **kwargs):
    return DATASETS.build(dict(type='amt_mm.BackgroundsFolder', data_root=str(root),
                               pipeline=PIPELINE, **kwargs))


def evaluate(root, classes=6):
    dataset = build(root)
    evaluator = Evaluator(METRICS.build(dict(type='amt_mm.BackgroundsAccuracy')))
    evaluator.dataset_meta = dataset.metainfo
    for i in range(len(dataset)):
        sample: DataSample = dataset[i]['data_samples']
        *_, variation, _, name, file = sample.img_path.split('/')
        scores = torch.rand(classes) / 2
        scores[ANSWERS[variation][name][int(file[0])]] = 1
        evaluator.process(data_samples=[sample.set_pred_score(scores)])
    return evaluator.evaluate(len(dataset))


def test_predictions_are_mapped_and_other_classes_are_wrong(root):
    assert evaluate(root) == {f'backgrounds/{name}': value for name, value in WANTED.items()}


@pytest.mark.parametrize('loader', ['val_dataloader', 'test_dataloader'])
def test_the_published_images_are_seen_as_a_whole(root, loader):
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    for file in root.rglob('*.JPEG'):
        file.write_bytes(cv2.imencode('.png', picture)[1])
    images = apply_overlay(Config.fromfile(CONFIG))[loader].dataset
    sample = DATASETS.build({**images, 'data_root': str(root)})[0]
    np.testing.assert_array_equal(sample['inputs'].permute(1, 2, 0), picture)


def test_a_split_of_the_training_data_does_not_reach_it(root):
    """The config's data set of ImageNet-1K has one."""
    assert len(build(root, split='val')) == len(build(root)) == 16


def test_faults_are_one_line(root, tmp_path):
    with pytest.raises(InputError, match='has 7 classes, and in_to_in9.json 6'):
        evaluate(root, 7)
    for text, message in (('{"0": 9}', 'a class from -1 to 8'), ('{"1": 0}', 'is not JSON of the'),
                          ('[', 'is not JSON'), ('7', 'is not JSON'), ('{}', 'a class from -1')):
        (root / 'in_to_in9.json').write_text(text)
        with pytest.raises(InputError, match=message):
            build(root)
    (root / 'in_to_in9.json').unlink()
    with pytest.raises(InputError, match='in_to_in9.json: cannot be read .*; copy it from'):
        build(root)
    with pytest.raises(InputError, match='has no images in original/val/00_dog/'):
        build(root / 'original')
    (root / 'original' / 'val' / '00_dog').rename(root / 'original' / 'val' / 'dog')
    with pytest.raises(InputError, match='original/val/dog/0.JPEG: is in dog, and classes are 00_'):
        build(root)
