"""Which runs of a command measure the same features."""

from pathlib import Path

import pytest
from mmengine.config import Config

from amt_mm.apis.shared_encoding import encoding_once
from amt_mm.shipped import configs_folder


@pytest.fixture
def run(tmp_path):
    def make(protocol, checkpoint='a.pth', **options):
        cfg = Config.fromfile(
            configs_folder() / f'benchmarks/{protocol}/vit-base-p16_'
            f'{protocol.replace("_", "-")}_folder.py')
        cfg.merge_from_dict(options)
        folder = tmp_path / '-'.join([protocol, checkpoint, *map(str, options.values())])
        folder.mkdir()
        return dict(config=cfg, checkpoint=Path(checkpoint), folder=folder)

    return make


def places(runs, work_dir):
    with encoding_once(runs, work_dir):
        found = [run['config'].test_cfg.get('features') for run in runs]
        assert all(place is None or Path(place).is_dir() for place in found)
    assert not any(place and Path(place).exists() for place in found)
    assert not list(work_dir.glob('.features-*'))
    return found


def test_protocols_on_the_same_features_share_them(run, tmp_path):
    first, sweep, mean = places([run('knn'), run('linear_sweep'), run('lowshot', **{
        'test_cfg.pooling': 'mean'})], tmp_path)
    assert first is not None and first == sweep == mean


@pytest.mark.parametrize('options', [
    {'model.backbone.patch_size': 8}, {'data_preprocessor.mean': [1., 2, 3]},
    {'test_dataloader.dataset.split': 'test'}, {'test_cfg.train_dataloader.dataset.split': 'all'},
    {'test_cfg.fp16': True}, {'default_hooks.pretrained.encoder': 'student'},
    {'randomness.seed': 1}])
def test_other_features_are_not_shared(run, tmp_path, options):
    assert places([run('knn'), run('linear_sweep', **options)], tmp_path) == [None, None]
    first, other, sweep = places([run('knn', 'b.pth'), run('knn', 'b.pth', **options),
                                  run('linear_sweep', 'b.pth')], tmp_path)
    assert other is None and first == sweep is not None


def test_other_encoders_have_places_of_their_own(run, tmp_path):
    runs = [run(protocol, checkpoint) for protocol in ('knn', 'unsupervised')
            for checkpoint in ('a.pth', 'b.pth')]
    a, b, *more = places(runs, tmp_path)
    assert a != b and more == [a, b]


def test_runs_that_encode_start_first(run, tmp_path):
    runs = [run(protocol, checkpoint) for checkpoint in ('a.pth', 'b.pth')
            for protocol in ('knn', 'lowshot', 'attentive')]
    with encoding_once(runs, tmp_path) as ordered:
        assert [runs.index(each) for each in ordered] == [0, 2, 3, 5, 1, 4]


def test_finished_runs_and_other_protocols_need_none(run, tmp_path):
    runs = [run('knn'), run('linear_sweep'), run('attentive'), run('segmentation')]
    (runs[1]['folder'] / 'result.json').write_text('{}')
    assert places(runs, tmp_path) == [None] * 4
