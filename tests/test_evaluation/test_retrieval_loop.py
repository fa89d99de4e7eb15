"""RetrievalTestLoop on classes and on the published files, query by query by the slow formula."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from labelled_toys import LabelledImages, test_runner
from landmark_toys import write_landmarks
from mmengine.runner import Runner

from amt_mm.datasets import RevisitedLandmarks
from amt_mm.errors import InputError

TRAIN = [i * 5 % 7 for i in range(23)]
TEST = [i * 3 % 7 for i in range(11)]
PIPELINE = [dict(type='amt_mm.LoadImage'), dict(type='amt_mm.CropToBox'),
            dict(type='Resize', scale=(56, 40)), dict(type='PackInputs')]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, '_log_env', lambda *args: None)

    def make(train, test, name='run', **loop):
        return test_runner(tmp_path / name, {**dict(type='amt_mm.RetrievalTestLoop'), **loop},
                           train, test, f'{tmp_path.name}-{name}')

    return make


@torch.no_grad()
def token(runner, image):
    """[CLS] of one image ``(3, 40, 56)`` of 0 to 255, of length 1."""
    model = runner.model.eval()
    image = (image.float() - model.data_preprocessor.mean) / model.data_preprocessor.std
    found = model.backbone(image[None])[-1][0, 0].double()
    return (found / found.norm()).numpy()


def slow(cosines, relevant, junk, k):
    """Average precision and precision at k of one query."""
    ranking = [place for place in np.argsort(-cosines, kind='stable') if place not in junk]
    places = [place for place, image in enumerate(ranking, 1) if image in relevant]
    if not places:
        return None
    pairs = [((number - 1) / (place - 1) if place > 1 else 1, number / place)
             for number, place in enumerate(places, 1)]
    depth = min(k, places[-1])
    return np.mean(pairs), sum(place <= depth for place in places) / depth


def test_images_of_the_class_of_a_query_are_relevant(run):
    train, test = LabelledImages(TRAIN), LabelledImages(TEST, seed=1)
    runner = run(train, test, ks=(1, 3))
    metrics = runner.test()
    database = np.stack([token(runner, train[i]['inputs']) for i in range(len(TRAIN))])
    found = [slow(database @ token(runner, test[i]['inputs']),
                  np.flatnonzero(np.array(TRAIN) == label), (), 3)
             for i, label in enumerate(TEST)]
    precision, three = 100 * np.mean(found, axis=0)
    assert set(metrics) == {'retrieval/map', 'retrieval/mp1', 'retrieval/mp3'}
    assert metrics['retrieval/map'] == pytest.approx(precision)
    assert metrics['retrieval/mp3'] == pytest.approx(three)
    assert 20 < precision < 95


def test_the_published_files_have_three_difficulties(run, tmp_path):
    chance = np.random.RandomState(3)
    lists = []
    for _ in range(6):
        parts = np.split(chance.permutation(17), [3, 7, 9])[:3]
        lists.append(dict(zip(('easy', 'hard', 'junk'), (part.tolist() for part in parts),
                              strict=True)))
    lists[2]['hard'] = []
    root = write_landmarks(tmp_path / 'data', lists, 17)
    parts = [RevisitedLandmarks(data_root=str(root), split=split, pipeline=PIPELINE)
             for split in ('database', 'query')]
    runner = run(*parts, ks=(5, ))
    metrics = runner.test()

    def seen(name, box=None):
        image = cv2.imread(str(root / 'jpg' / f'{name}.jpg'))
        image = image if box is None else image[1:box, 3:48]
        return token(runner, torch.from_numpy(cv2.resize(image, (56, 40)).transpose(2, 0, 1)))

    database = np.stack([seen(f'base_{i}') for i in range(17)])
    queries = [database @ seen(f'query_{i}', 36 - i) for i in range(6)]
    for name, relevant, junk in (('easy', ['easy'], ['hard', 'junk']),
                                 ('medium', ['easy', 'hard'], ['junk']),
                                 ('hard', ['hard'], ['easy', 'junk'])):
        found = [slow(cosines, sum((each[key] for key in relevant), []),
                      sum((each[key] for key in junk), []), 5)
                 for cosines, each in zip(queries, lists, strict=True)]
        wanted = 100 * np.mean([each for each in found if each], axis=0)
        assert (metrics[f'retrieval/map_{name}'], metrics[f'retrieval/mp5_{name}']
                ) == pytest.approx(tuple(wanted))
    assert len(metrics) == 6
    log, = Path(runner.log_dir).glob('*.log')
    assert 'hard: 1 of 6 queries have no relevant image' in log.read_text()


def test_queries_that_nothing_answers_are_refused(run, tmp_path):
    nothing = [dict(easy=[1], hard=[], junk=[])]
    root = write_landmarks(tmp_path / 'data', nothing)
    parts = [RevisitedLandmarks(data_root=str(root), split=split, pipeline=PIPELINE)
             for split in ('database', 'query')]
    with pytest.raises(InputError, match='no query has relevant images .hard'):
        run(*parts).test()
    with pytest.raises(InputError, match='nothing tells which images are relevant'):
        run(*parts[::-1], 'images').test_loop  # noqa: B018  (builds the loop)
    with pytest.raises(InputError, match='ks=.0.: all must be 1 or more'):
        run(*parts, 'ks', ks=[0]).test_loop  # noqa: B018
