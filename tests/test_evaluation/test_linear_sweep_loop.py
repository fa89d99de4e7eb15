"""LinearSweepTestLoop against scikit-learn, and that test labels select nothing."""

import numpy as np
import pytest
import torch
from labelled_toys import LabelledFrames, LabelledImages, test_runner
from mmengine.runner import Runner
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from amt_mm.errors import InputError
from amt_mm.evaluation import linear_probe
from amt_mm.evaluation.drawing import held_out

# 5 classes of 12 images, two of which are held out.
COLOURS = [i * 3 % 5 for i in range(60)]
TEST_COLOURS = [i * 2 % 5 for i in range(203)]
# A third of the labels are wrong, so that no classifier is perfect.
TRAIN = [(label + (i % 7 < 2)) % 5 for i, label in enumerate(COLOURS)]
TEST = [(label + (i % 3 < 1)) % 5 for i, label in enumerate(TEST_COLOURS)]
STRENGTHS = (1e-2, 1e-1, 1.0, 10.0)


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, '_log_env', lambda *args: None)

    def make(name='run', train=TRAIN, test=TEST, **loop):
        images = LabelledImages(COLOURS[:len(train)]), LabelledImages(TEST_COLOURS, seed=1)
        for part, labels in zip(images, (train, test), strict=True):
            for info, label in zip(part.data_list, labels, strict=True):
                info['gt_label'] = label
        return test_runner(
            tmp_path / name, {**dict(type='amt_mm.LinearSweepTestLoop', l2=STRENGTHS), **loop},
            *images, f'{tmp_path.name}-{name}')

    return make


def features(runner, loader):
    dataset, model = loader.dataset, runner.model.eval()
    batch = torch.stack([dataset[i]['inputs'] for i in range(len(dataset))]).float()
    batch = (batch - model.data_preprocessor.mean) / model.data_preprocessor.std
    with torch.no_grad():
        tokens = model.backbone(batch)[-1].double().numpy()
    cls, mean = tokens[:, 0], tokens[:, 1:].mean(1)
    return dict(cls=cls, mean=mean, both=np.concatenate([cls, mean], axis=1))


@pytest.mark.slow
def test_it_is_scikit_learns_regression_at_the_penalty_that_held_out_images_select(run):
    runner = run()
    metrics = runner.test()
    train = features(runner, runner.test_loop.train_dataloader)
    test = features(runner, runner.test_dataloader)
    labels, count, aside = np.array(TRAIN), [0] * 5, []
    for i, label in enumerate(TRAIN):
        count[label] += 1
        if count[label] % 5 == 0:
            aside.append(i)
    rest = np.setdiff1d(range(60), aside)
    assert len(metrics) == 6 and len(aside) >= 9

    def fitted(rows, l2, x):
        scaler = StandardScaler().fit(x[rows])
        regression = LogisticRegression(C=1 / (l2 * len(rows)), tol=1e-8, max_iter=5000)
        regression.fit(scaler.transform(x[rows]), labels[rows])
        return lambda images, wanted: 100 * regression.score(scaler.transform(images), wanted)

    for name in ('cls', 'mean', 'both'):
        # From the strongest, which wins a tie.
        reached = {l2: fitted(rest, l2, train[name])(train[name][aside], labels[aside])
                   for l2 in reversed(STRENGTHS)}
        best = max(reached, key=reached.get)
        assert metrics[f'linear_sweep/{name}_l2'] == best
        oracle = fitted(np.arange(60), best, train[name])(test[name], TEST)
        assert 30 < oracle < 100
        assert metrics[f'linear_sweep/{name}_top1'] == pytest.approx(oracle, abs=.5)


@pytest.mark.slow
def test_labels_of_the_test_images_select_nothing(run):
    runners = [run(), run('other', test=[(label + 1) % 5 for label in TEST])]
    runners[1].model.load_state_dict(runners[0].model.state_dict())
    first, other = (runner.test() for runner in runners)
    for name, value in first.items():
        assert (other[name] == value) == name.endswith('l2'), name


@pytest.mark.slow
def test_a_penalty_at_the_end_of_the_range_is_pointed_out(run, monkeypatch):
    said = []
    runner = run(l2=(1e5, 1e-2))
    monkeypatch.setattr(runner.logger, 'warning', said.append)
    runner.test()
    assert said[0] == ('cls: the best penalty, 0.01, is at the end of the range; extend '
                       'test_cfg.l2') and len(said) == 3


def test_no_file_of_frames_selects_the_penalty_and_fits(tmp_path, monkeypatch):
    monkeypatch.setattr(Runner, '_log_env', lambda *args: None)
    found = []
    monkeypatch.setattr(linear_probe, 'held_out', lambda *args: (
        found.append(held_out(*args)), found[-1])[1])
    loop = dict(type='amt_mm.LinearSweepTestLoop', l2=STRENGTHS)
    test_runner(tmp_path, loop, LabelledFrames([0, 1] * 5), LabelledImages([0, 1], seed=1),
                tmp_path.name).test()
    # Images 80 to 99 are the fifth file of each class.
    assert found and all(aside.tolist() == [i >= 80 for i in range(100)] for aside in found)


def test_too_few_images_or_penalties_are_refused(run):
    with pytest.raises(InputError, match='no class has five'):
        run(train=TRAIN[:15]).test_loop  # noqa: B018  (builds the loop)
    for number, l2 in enumerate(([1e-2], [0.0, 1e-2])):
        with pytest.raises(InputError, match='test_cfg.l2'):
            run(f'bad{number}', l2=l2).test_loop  # noqa: B018  (builds the loop)
