"""KNNTestLoop and LowShotTestLoop on a runner: measures by other means, JSON, bad input."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_toys import VIT, WHOLE, LabelledImages, loader, test_runner
from mmengine.registry import LOOPS
from mmengine.runner import Runner
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from amt_mm.errors import InputError
from amt_mm.evaluation import feature_loop
from amt_mm.evaluation.dataset_features import labelled_features
from amt_mm.evaluation.kept import kept
from amt_mm.evaluation.knn_loop import KNNTestLoop
from amt_mm.evaluation.token_cache import labelled_tokens

# 7 classes, 3 to 4 images each; 11 to test, in batches of 4.
TRAIN = [i * 5 % 7 for i in range(23)]
TEST = [i * 3 % 7 for i in range(11)]


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, '_log_env', lambda *args: None)

    def make(type, train=TRAIN, test=TEST, name='run', loop=(), **changes):
        train = LabelledImages(train) if isinstance(train, list) else train
        test = LabelledImages(test, seed=1) if isinstance(test, list) else test
        return test_runner(tmp_path / name, dict(type=f'amt_mm.{type}', **dict(loop)), train, test,
                           f'{tmp_path.name}-{name}', **changes)

    return make


@torch.no_grad()
def encoded(runner, dataset, pooling):
    """Features of one image at a time, normalised."""
    model = runner.model.eval()
    features = []
    for i in range(len(dataset)):
        image = dataset[i]['inputs'][None].float()
        image = (image - model.data_preprocessor.mean) / model.data_preprocessor.std
        tokens = model.backbone(image)[-1][0]
        has_cls = model.backbone.cls_token is not None
        assert tokens.shape == (35 + has_cls, 24)
        feature = tokens[0] if pooling == 'cls' else tokens[int(has_cls):].mean(0)
        features.append((feature / feature.norm()).double().numpy())
    return np.stack(features)


NO_CLS = {**VIT, 'backbone': {**VIT['backbone'], 'with_cls_token': False}}


@pytest.mark.parametrize(('model', 'pooling', 'given'), [
    (VIT, 'cls', 'cls'), (VIT, 'cls', None), (VIT, 'mean', 'mean'), (NO_CLS, 'mean', None)])
def test_knn_agrees_with_scikit_learn_and_is_written_to_json(run, model, pooling, given):
    runner = run('KNNTestLoop', loop=dict(ks=(1, 6, 20), pooling=given), model=model)
    metrics = runner.test()
    log, = Path(runner.log_dir).glob('*.log')
    assert ('no [CLS] token: features are the mean' in log.read_text()) == (model is NO_CLS)
    train = encoded(runner, runner.test_loop.train_dataloader.dataset, pooling)
    test = encoded(runner, runner.test_dataloader.dataset, pooling)
    for k in (1, 6, 20):
        oracle = KNeighborsClassifier(k, metric='cosine', algorithm='brute',
                                      weights=lambda d: np.exp((1 - d) / .07)).fit(train, TRAIN)
        share = oracle.predict_proba(test)
        top1 = 100 * np.mean(share.argmax(1) == TEST)
        assert metrics[f'knn/top1_k{k}'] == pytest.approx(top1)
        if k > 4:
            ranks = share.argsort(1)[:, ::-1][:, :5]
            top5 = 100 * np.mean([t in r[share[i, r] > 0] for i, (t, r) in
                                  enumerate(zip(TEST, ranks, strict=True))])
            assert metrics[f'knn/top5_k{k}'] == pytest.approx(top5)
    assert 'knn/top5_k1' not in metrics
    assert 10 < metrics['knn/top1_k6'] < 100  # neither hopeless nor trivial
    written, = Path(runner.log_dir).glob('*.json')
    assert json.loads(written.read_text()) == pytest.approx(metrics)


def test_it_keeps_answers_neighbours_and_tokens_for_the_report(run, tmp_path):
    runner = run('KNNTestLoop', loop=dict(ks=(1, 20)))
    metrics = runner.test()
    answers = kept(tmp_path / 'run', 'predictions_knn_top1_k20')
    assert answers['labels'].tolist() == TEST and answers['names'] is None
    right = answers['predictions'] == torch.tensor(TEST)
    assert 100 * right.double().mean().item() == pytest.approx(metrics['knn/top1_k20'])

    found, tokens = kept(tmp_path / 'run', 'neighbours'), kept(tmp_path / 'run', 'tokens')
    test = runner.test_dataloader.dataset
    features = encoded(runner, test, 'cls')
    oracle = NearestNeighbors(n_neighbors=5, metric='cosine', algorithm='brute').fit(
        encoded(runner, runner.test_loop.train_dataloader.dataset, 'cls'))
    distances, places = oracle.kneighbors(features[found['rows']])
    assert len(found['rows']) == 6 and found['rows'] == tokens['rows']
    np.testing.assert_array_equal(found['found'], places)
    np.testing.assert_allclose(found['cosines'], 1 - distances, atol=1e-5)
    assert found['labels'] == [TEST[row] for row in found['rows']]
    assert found['found_labels'] == [[TRAIN[i] for i in row] for row in places]
    assert found['shares'] == pytest.approx([TRAIN.count(label) / 23 for label in found['labels']])

    assert tokens['tokens'].shape == (6, 35, 24) and tokens['grid'] == [5, 7]
    image = test[tokens['rows'][4]]['inputs'][None].float()
    image = (image - runner.model.data_preprocessor.mean) / runner.model.data_preprocessor.std
    with torch.no_grad():
        torch.testing.assert_close(tokens['tokens'][4], runner.model.backbone(image)[-1][0, 1:],
                                   atol=1e-4, rtol=1e-4)


def test_a_host_is_measured_as_a_classifier_is(run, toy_mae):
    """A pre-training config's model, with a preprocessor that plans masks in training only."""
    runner = run('KNNTestLoop', model=toy_mae(), loop=dict(ks=[3]))
    assert set(runner.test()) == {'knn/top1_k3'}


def test_k_above_the_number_of_images_uses_all_and_few_classes_have_no_top5(run):
    with pytest.warns(UserWarning, match='all 9 training images'):
        metrics = run('KNNTestLoop', train=[0, 1, 2] * 3, test=[2, 0, 1], name='few').test()
    assert set(metrics) == {f'knn/top1_k{k}' for k in (10, 20, 100, 200)}
    assert len(set(metrics.values())) == 1


@pytest.mark.slow
@pytest.mark.parametrize('classifier', ['knn', 'linear'])
def test_low_shot_agrees_with_draws_by_hand(run, classifier):
    runner = run('LowShotTestLoop', loop=dict(shots=(1, 3), draws=3, classifier=classifier, seed=5))
    metrics = runner.test()
    train = encoded(runner, runner.test_loop.train_dataloader.dataset, 'cls')
    test = encoded(runner, runner.test_dataloader.dataset, 'cls')
    for shots in (1, 3):
        reached = []
        for draw in range(3):
            order = np.random.default_rng([5, draw]).permutation(len(TRAIN))
            chosen = [i for c in range(7) for i in [j for j in order if TRAIN[j] == c][:shots]]
            features, labels = train[chosen], np.array(TRAIN)[chosen]
            if classifier == 'knn':
                oracle = KNeighborsClassifier(
                    1 if shots == 1 else 20, metric='cosine', algorithm='brute',
                    weights=lambda d: np.exp((1 - d) / .07)).fit(features, labels)
                answer = oracle.predict(test)
            else:
                # Not normalised: a linear classifier sees the features as they are.
                features, queries = raw(runner, 'train')[chosen], raw(runner, 'test')
                mean, std = features.mean(0), np.sqrt(features.var(0) + 1e-6)
                oracle = LogisticRegression(C=1 / (1e-2 * len(chosen)), tol=1e-8, max_iter=5000)
                answer = oracle.fit((features - mean) / std, labels).predict((queries - mean) / std)
            reached.append(100 * np.mean(answer == TEST))
        assert metrics[f'lowshot/top1_{shots}shot'] == pytest.approx(np.mean(reached))
        assert metrics[f'lowshot/top1_{shots}shot_std'] == pytest.approx(np.std(reached, ddof=1))


@torch.no_grad()
def raw(runner, part):
    dataset = (runner.test_loop.train_dataloader if part == 'train' else runner.test_dataloader
               ).dataset
    batch = torch.stack([dataset[i]['inputs'] for i in range(len(dataset))]).float()
    batch = (batch - runner.model.data_preprocessor.mean) / runner.model.data_preprocessor.std
    return runner.model.backbone(batch)[-1][:, 0].double().numpy()


def test_draws_do_not_depend_on_the_seed_of_the_run(run):
    """The same images for every checkpoint."""
    same = [run('LowShotTestLoop', name=f'seed{seed}', loop=dict(shots=(2, ), draws=4),
                randomness=dict(seed=seed)) for seed in (1, 2)]
    same[1].model.load_state_dict(same[0].model.state_dict())
    assert same[0].test() == same[1].test()


def test_one_draw_has_no_deviation_and_a_short_class_is_named(run):
    metrics = run('LowShotTestLoop', name='one', loop=dict(shots=(2, ), draws=1)).test()
    assert set(metrics) == {'lowshot/top1_2shot'}
    with pytest.raises(InputError, match='5 images per class .* class 0 has 4; lower test_cfg.sh'):
        # Before anything is encoded: this builds the loop.
        run('LowShotTestLoop', name='short', loop=dict(shots=(1, 5))).test_loop  # noqa: B018


@pytest.mark.parametrize(('type', 'loop', 'message'), [
    ('KNNTestLoop', dict(ks=()), 'ks='), ('KNNTestLoop', dict(ks=(0, )), 'ks='),
    ('KNNTestLoop', dict(temperature=0), 'temperature'),
    ('KNNTestLoop', dict(pooling='max'), 'pooling'),
    ('KNNTestLoop', dict(train_dataloader=dict(batch_size=3)), 'train_dataloader.dataset'),
    ('LowShotTestLoop', dict(shots=(0, 1)), 'shots='), ('LowShotTestLoop', dict(draws=0), 'draws'),
    ('LowShotTestLoop', dict(classifier='svm'), 'classifier')])
def test_impossible_settings_are_refused_before_encoding(run, type, loop, message):
    with pytest.raises(InputError, match=message):
        run(type, loop=loop).test_loop  # noqa: B018  (builds the loop)


def test_a_metric_beside_the_loop_is_refused(run):
    with pytest.raises(InputError, match=r'test_evaluator=\[\]'):
        run('KNNTestLoop', test_evaluator=dict(type='Accuracy')).test()


def test_images_without_labels_and_backbones_without_tokens_are_named(run, toy_images):
    with pytest.raises(InputError, match='no class label'):
        run('KNNTestLoop', test=toy_images(3, WHOLE), name='unlabelled').test()
    model = {**VIT, 'backbone': {**VIT['backbone'], 'out_type': 'cls_token'}}
    with pytest.raises(InputError, match="out_type='raw'"):
        run('KNNTestLoop', model=model, name='cls').test()
    shuffled = {**loader(LabelledImages(TEST)), 'sampler': dict(type='InfiniteSampler')}
    with pytest.raises(InputError, match='DefaultSampler'):
        run('KNNTestLoop', test_dataloader=shuffled, name='infinite').test()


@pytest.mark.parametrize('kind', ['KNNTestLoop', 'LowShotTestLoop'])
def test_other_classes_among_the_test_images_are_refused_before_encoding(run, kind):
    parts = [LabelledImages([0, 1], metainfo=dict(classes=['a', name])) for name in 'bc']
    with pytest.raises(InputError, match=f'{kind}: .*b only in the training set; c only in'):
        run(kind, *parts).test_loop  # noqa: B018  (builds the loop)


def test_the_loops_are_found_by_name():
    assert LOOPS.get('amt_mm.KNNTestLoop') is KNNTestLoop


def test_a_shuffled_loader_gives_the_order_of_the_data_set(run):
    plain = run('KNNTestLoop', name='plain')
    train = loader(LabelledImages(TRAIN))
    train['sampler'] = dict(type='DefaultSampler', shuffle=True)
    shuffled = run('KNNTestLoop', name='shuffled', loop=dict(train_dataloader=train))
    shuffled.model.load_state_dict(plain.model.state_dict())
    assert shuffled.test() == plain.test()


def test_an_encoder_without_cls_has_no_such_feature(run):
    with pytest.raises(InputError, match='the encoder has no .CLS. token to take as feature: use'):
        run('KNNTestLoop', loop=dict(pooling='cls'), model=NO_CLS).test()


def test_a_linear_sweep_of_an_encoder_without_cls_has_the_mean_token_alone(run):
    found = run('LinearSweepTestLoop', [0, 1] * 6, [0, 1, 1], loop=dict(l2=(1e-3, 1e-1)),
                model=NO_CLS).test()
    assert {name for name in found if name.endswith('top1')} == {'linear_sweep/mean_top1'}


@pytest.mark.parametrize('model', [VIT, NO_CLS])
def test_runs_that_share_features_measure_the_same_and_encode_once(run, model, tmp_path,
                                                                  monkeypatch):
    kinds = dict(KNNTestLoop=dict(ks=(3, )), LinearSweepTestLoop=dict(l2=(1e-3, 1e-1)),
                 RetrievalTestLoop=dict(ks=(1, )), LowShotTestLoop=dict(shots=(1, ), draws=1))
    classes = [[0, 1, 2] * 6, [2, 0, 1, 1]]
    alone = {kind: run(kind, *classes, name=f'alone-{kind}', loop=loop, model=model).test()
             for kind, loop in kinds.items()}
    (tmp_path / 'features').mkdir()
    encodings = []
    monkeypatch.setattr(
        feature_loop, 'labelled_features',
        lambda *args: encodings.append(args) or labelled_features(*args))
    for kind, loop in kinds.items():
        runner = run(kind, *classes, name=f'shared-{kind}', model=model,
                     loop=dict(loop, features=str(tmp_path / 'features')))
        assert runner.test() == alone[kind]
    assert len(encodings) == 2  # training and test images


def test_patch_tokens_of_an_encoder_without_cls_are_all_cached(run, tmp_path):
    runner = run('KNNTestLoop', model=NO_CLS)
    found = labelled_tokens(runner.model, runner.test_dataloader, tmp_path / 'x.tokens')
    image = runner.test_dataloader.dataset[0]['inputs'][None].float()
    image = (image - runner.model.data_preprocessor.mean) / runner.model.data_preprocessor.std
    with torch.no_grad():
        expected = runner.model.eval().backbone(image)[-1][0]
    assert found.tokens.shape[1:] == expected.shape == (35, 24)
    torch.testing.assert_close(found.tokens[0].float(), expected, rtol=2**-11, atol=1e-5)
