"""UnsupervisedTestLoop: what it measures of which images, by other means."""

import numpy as np
import pytest
import torch
from labelled_toys import LabelledImages, test_runner
from mmengine.runner import Runner
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from amt_mm.errors import InputError
from amt_mm.evaluation.label_free import rankme, uniformity

TRAIN = [i * 3 % 5 for i in range(60)]
TEST = [i * 2 % 5 for i in range(33)]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, '_log_env', lambda *args: None)

    def make(name='run', train=TRAIN, test=TEST, batch_size=4, **loop):
        runner = test_runner(
            tmp_path / name, {**dict(type='amt_mm.UnsupervisedTestLoop'), **loop},
            LabelledImages(train), LabelledImages(test, seed=1), f'{tmp_path.name}-{name}')
        runner._test_dataloader['batch_size'] = batch_size
        return runner

    return make


def features(runner, loader, pooling):
    dataset, model = loader.dataset, runner.model.eval()
    batch = torch.stack([dataset[i]['inputs'] for i in range(len(dataset))]).float()
    batch = (batch - model.data_preprocessor.mean) / model.data_preprocessor.std
    with torch.no_grad():
        tokens = model.backbone(batch)[-1]
    return tokens[:, 0] if pooling == 'cls' else tokens[:, 1:].mean(1)


@pytest.mark.parametrize('pooling', ['cls', 'mean'])
def test_clusters_of_training_images_are_compared_with_classes_of_test_images(run, pooling):
    runner = run(pooling=pooling)
    metrics = runner.test()
    parts = [features(runner, loader, pooling) for loader in
             (runner.test_loop.train_dataloader, runner.test_dataloader)]
    train, test = (torch.nn.functional.normalize(part).numpy() for part in parts)
    oracle = KMeans(5, n_init=50, random_state=0).fit(train)
    found = oracle.predict(test)
    assert metrics['unsupervised/nmi'] == pytest.approx(
        100 * normalized_mutual_info_score(TEST, found))
    assert metrics['unsupervised/ari'] == pytest.approx(100 * adjusted_rand_score(TEST, found))
    assert metrics['unsupervised/ari'] > 20
    assert metrics['unsupervised/rankme'] == pytest.approx(rankme(parts[1]), rel=1e-4)
    assert metrics['unsupervised/uniformity'] == pytest.approx(uniformity(parts[1]), rel=1e-4)
    assert 0 < metrics['unsupervised/alignment'] < 4
    assert len(metrics) == 6


def test_labels_do_not_cluster_and_batches_do_not_matter(run):
    runners = [run(), run('other', batch_size=9)]
    runners[1].model.load_state_dict(runners[0].model.state_dict())
    for part in (runners[1].test_loop.train_dataloader, runners[1].test_dataloader):
        for info in part.dataset.data_list:
            info['gt_label'] = (info['gt_label'] + 2) % 5
    first, other = (runner.test() for runner in runners)
    # Other names of the same classes.
    assert other == pytest.approx(first, rel=1e-4)


def test_images_are_drawn_where_there_are_many(run, monkeypatch):
    seen = []
    from amt_mm.evaluation import unsupervised_loop
    kmeans = unsupervised_loop.kmeans
    monkeypatch.setattr(unsupervised_loop, 'kmeans', lambda features, *args, **kwargs: (
        seen.append(features) or kmeans(features, *args, **kwargs)))
    runner = run(max_train=20, restarts=1)
    runner.test()
    whole = features(runner, runner.test_loop.train_dataloader, 'cls')
    whole = torch.nn.functional.normalize(whole.double())
    places = torch.cdist(seen[0], whole).min(dim=1)
    assert len(seen[0]) == 20 and len(places.indices.unique()) == 20
    assert places.values.max() < 1e-5 and np.ptp(places.indices.numpy()) > 30


@pytest.mark.parametrize('fp16', [False, True])
def test_views_are_encoded_in_the_precision_of_whole_images(run, fp16):
    runner = run(fp16=fp16)
    lower = []
    runner.model.backbone.register_forward_pre_hook(
        lambda *_: lower.append(torch.is_autocast_enabled('cpu')))
    runner.test()
    # Training and test images, two views of the latter, and the images of the report.
    assert lower == [fp16] * (15 + 3 * 9 + 1)


def test_fewer_images_than_classes_are_refused_before_encoding(run):
    with pytest.raises(InputError, match='4 training images .* 5 clusters.*test_cfg.max_train'):
        run(max_train=4).test_loop  # noqa: B018  (builds the loop)


def test_impossible_numbers_are_refused(run):
    for number, loop in enumerate((dict(max_train=0), dict(restarts=0))):
        with pytest.raises(InputError, match='must be 1 or more'):
            run(f'bad{number}', **loop).test_loop  # noqa: B018  (builds the loop)
