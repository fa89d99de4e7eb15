"""KNNProbeHook: when and what it measures, where it logs, and that training is not affected."""

import json
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from distillation_toys import MODEL as IBOT
from distillation_toys import multi_crop
from labelled_toys import LabelledImages
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from amt_mm.errors import InputError
from amt_mm.guidance import SaliencyUpdateHook
from amt_mm.hooks import KNNProbeHook, LabelFreeProbeHook, TeacherUpdateHook
from amt_mm.random_streams import kept_random_streams

CONFIGS = Path(__file__).parents[2] / 'configs'
TRAIN = [i * 5 % 7 for i in range(40)]
TEST = [i * 3 % 7 for i in range(17)]


@pytest.fixture(autouse=True)
def toy_data_set():
    DATASETS.register_module(name='ToyLabelled', module=LabelledImages, force=True)
    yield
    DATASETS.module_dict.pop('ToyLabelled')


def probe(**changes):
    return KNNProbeHook(**{**dict(
        train=dict(type='ToyLabelled', labels=TRAIN),
        test=dict(type='ToyLabelled', labels=TEST, seed=1), ks=(1, 5)), **changes})


class Curve(Hook):
    """What the visualizer is given of the probe."""

    def __init__(self):
        self.points = []

    def before_run(self, runner):
        runner.visualizer.add_scalars = lambda scalars, step: self.points.extend(
            [(step, scalars)] if 'knn/seconds' in scalars else [])


def steps_of(toy_runner, name, hook, epochs=5, **changes):
    curve = Curve()
    toy_runner(name, [curve, hook], epochs=epochs, **changes).train()
    return [step for step, _ in curve.points]


@pytest.mark.slow
@pytest.mark.parametrize(('schedule', 'epochs'), [
    (dict(interval=2), [2, 4, 5]), (dict(interval=5), [5]), (dict(interval=9), [5]),
    (dict(interval=2, begin=0), [0, 2, 4, 5]), (dict(interval=2, begin=1), [1, 3, 5])])
def test_the_schedule_ends_with_training(toy_runner, schedule, epochs):
    # 7 images in batches of 3: 3 steps an epoch.
    assert steps_of(toy_runner, 'run', probe(**schedule)) == [3 * epoch for epoch in epochs]


def test_the_schedule_of_iterations(toy_runner):
    # One epoch, for MMEngine sleeps before the next.
    loop = dict(train_cfg=dict(type='IterBasedTrainLoop', max_iters=7), loader=dict(batch_size=1))
    hook = probe(interval=3, begin=2, by_epoch=False)
    assert steps_of(toy_runner, 'run', hook, **loop) == [2, 5, 7]
    with pytest.raises(InputError, match='by_epoch=False'):
        toy_runner('wrong', [probe()], **loop).train()


def test_a_resumed_run_continues_the_schedule(toy_runner):
    assert steps_of(toy_runner, 'run', probe(interval=2, begin=0), epochs=3) == [0, 6, 9]
    assert steps_of(toy_runner, 'run', probe(interval=2, begin=0), resume=True) == [12, 15]


@pytest.mark.slow
@pytest.mark.parametrize('pooling', ['cls', 'mean'])
def test_it_agrees_with_scikit_learn_on_the_weights_of_that_epoch(toy_runner, toy_mae, pooling):
    curve = Curve()
    runner = toy_runner('run', [curve, probe(interval=1, linear=True)], epochs=2)
    runner.train()
    model = toy_mae()
    for epoch, (step, scalars) in enumerate(curve.points, start=1):
        assert step == 3 * epoch
        state = torch.load(f'{runner.work_dir}/epoch_{epoch}.pth', weights_only=False)
        model.load_state_dict(state['state_dict'])
        features = []
        for dataset in (LabelledImages(TRAIN), LabelledImages(TEST, seed=1)):
            images = torch.stack([dataset[i]['inputs'] for i in range(len(dataset))])
            with torch.no_grad():
                tokens = model.eval().backbone(model.data_preprocessor.normalize(images))[-1]
            pooled = tokens[:, 0] if pooling == 'cls' else tokens[:, 1:].mean(dim=1)
            features.append(pooled.double().numpy())
        for k in (1, 5):
            oracle = KNeighborsClassifier(k, metric='cosine', algorithm='brute',
                                          weights=lambda d: np.exp((1 - d) / .07))
            answer = oracle.fit(features[0], TRAIN).predict(features[1])
            assert scalars[f'knn/{pooling}_top1_k{k}'] == pytest.approx(
                100 * np.mean(answer == TEST))
        scaler = StandardScaler().fit(features[0])
        linear = LogisticRegression(C=1 / (1e-3 * 40), tol=1e-8, max_iter=5000)
        linear.fit(scaler.transform(features[0]), TRAIN)
        assert scalars[f'linear/{pooling}_top1'] == pytest.approx(
            100 * linear.score(scaler.transform(features[1]), TEST))
        assert scalars['knn/seconds'] > 0


@pytest.mark.parametrize('encoder', [None, 'teacher', 'student'])
def test_it_measures_the_teacher_or_the_chosen_encoder(
        toy_runner, toy_images, monkeypatch, encoder):
    # PlanRecorder reads a plan, which iBOT has not.
    monkeypatch.setattr('conftest.PlanRecorder.before_train', lambda *args: None)

    class Scramble(Hook):
        """Weights with which teacher and student differ."""

        @torch.no_grad()
        def before_train_epoch(self, runner):
            for parameter in runner.model.parameters():
                parameter.normal_(std=.3)

    curve = Curve()
    runner = toy_runner('run', [curve, Scramble(), TeacherUpdateHook(1.0),
                                probe(interval=1, encoder=encoder)],
                        toy_images(7, multi_crop()), epochs=1, model=IBOT)
    runner.train()
    chosen = runner.model if encoder == 'student' else runner.model.teacher
    chosen.backbone.eval()
    (_, scalars), features = curve.points[0], []
    for dataset in (LabelledImages(TRAIN), LabelledImages(TEST, seed=1)):
        images = torch.stack([dataset[i]['inputs'] for i in range(len(dataset))]).float()
        with torch.no_grad():
            tokens = chosen.backbone.encode(
                (images - runner.model.data_preprocessor.mean) / runner.model.data_preprocessor.std)
        features.append(tokens[:, 0].double().numpy())
    oracle = KNeighborsClassifier(5, metric='cosine', algorithm='brute',
                                  weights=lambda d: np.exp((1 - d) / .07))
    answer = oracle.fit(features[0], TRAIN).predict(features[1])
    assert scalars['knn/cls_top1_k5'] == pytest.approx(100 * np.mean(answer == TEST))


def test_a_missing_teacher_is_refused(toy_runner):
    with pytest.raises(InputError, match='AMTMAE has no teacher'):
        toy_runner('run', [probe(encoder='teacher')]).train()
    with pytest.raises(InputError, match="KNNProbeHook.encoder='ema' is unknown"):
        probe(encoder='ema')


class Nosy(Hook):
    """Draws from every stream after each epoch, and notes modes and gradients."""

    def __init__(self):
        self.seen = []

    def before_train_epoch(self, runner):
        runner.model.neck.eval()  # a part that somebody froze

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append([float(outputs['loss']), np.random.rand(), torch.rand(1).item(),
                          torch.initial_seed()])

    def after_train(self, runner):
        self.modes = {name: module.training for name, module in runner.model.named_modules()}


@pytest.mark.slow
def test_training_is_not_affected(toy_runner, monkeypatch):
    """Bit for bit, although the probe's pipeline draws, and with random streams never reset."""
    pipeline = [dict(type='Resize', scale=(56, 40)), dict(type='RandomFlip', prob=0.5),
                dict(type='ColorJitter', brightness=0.5), dict(type='PackInputs')]
    data = dict(train=dict(type='ToyLabelled', labels=TRAIN, pipeline=pipeline),
                test=dict(type='ToyLabelled', labels=TEST, pipeline=pipeline))
    ends = []
    probes = [probe(interval=1, begin=0, max_train=20, linear=True, **data),
              LabelFreeProbeHook(data['test'], interval=1, begin=0)]
    for name, hooks in (('plain', []), ('probed', probes)):
        nosy = Nosy()
        runner = toy_runner(name, [nosy, *hooks, SaliencyUpdateHook(1, 2)], epochs=3)
        runner.train()
        ends.append((runner.model.state_dict(), nosy.seen, nosy.modes))
    assert ends[0][1:] == ends[1][1:]
    for name, value in ends[0][0].items():
        assert torch.equal(value, ends[1][0][name]), name


def test_streams_are_kept_also_if_the_probe_fails():
    import random
    wanted = []
    for fails in (False, True):
        random.seed(1)
        np.random.seed(1)
        torch.manual_seed(1)
        if fails:
            with pytest.raises(ZeroDivisionError), kept_random_streams():
                random.random(), np.random.rand(), torch.rand(1), 1 / 0  # noqa: B018
        wanted.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert wanted[0] == wanted[1]


def test_images_are_drawn_evenly_and_the_same_in_every_run(toy_runner):
    hooks = [probe(max_train=14, max_test=7), probe(max_train=14, max_test=7)]
    for number, hook in enumerate(hooks):
        toy_runner(f'run{number}', [hook], epochs=1, seed=number).train()
    labels = [[dataset[i]['data_samples'].gt_label.item() for i in range(len(dataset))]
              for dataset in (hooks[0]._train, hooks[0]._test)]
    assert np.bincount(labels[0]).tolist() == [2] * 7 and np.bincount(labels[1]).tolist() == [1] * 7
    assert hooks[0]._train.indices == hooks[1]._train.indices
    # All there are, where there are no more.
    everything = probe(max_train=None, max_test=17)
    toy_runner('all', [everything], epochs=1).train()
    assert (len(everything._train), len(everything._test)) == (40, 17)



def host_config(name):
    """A host's ViT-B config, made small."""
    from amt_mm.config import apply_overlay
    path, = (CONFIGS / name).glob(f'{name}-amt_*')
    cfg = apply_overlay(Config.fromfile(path))
    cfg.model.backbone.update(img_size=32, patch_size=16, arch=dict(
        embed_dims=24, num_layers=1, num_heads=3, feedforward_channels=24))
    cfg.model.neck.pop('in_channels', None)  # follows the backbone
    return cfg


@pytest.mark.slow
@pytest.mark.parametrize('name', ['simmim', 'maskfeat'])
def test_other_hosts_are_probed_too(toy_runner, name):
    cfg = host_config(name)
    whole = [dict(type='Resize', scale=(32, 32)), dict(type='PackInputs')]
    hook = probe(train=dict(type='ToyLabelled', labels=TRAIN, pipeline=whole),
                 test=dict(type='ToyLabelled', labels=TEST, pipeline=whole))
    runner = toy_runner(model={**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    hook.before_train(runner)
    found = hook.probe(runner, 0)
    assert {f'knn/{pooling}_top1_k5' for pooling in ('cls', 'mean')} <= set(found)
    assert all(0 <= value <= 100 for name, value in found.items() if 'top' in name)


def visualized(toy_runner, *backends):
    logged = toy_runner('run', [probe(interval=1)], epochs=2, visualizer=dict(
        type='Visualizer', vis_backends=[dict(type=name) for name in backends]))
    said = []
    logged.logger.info = lambda text, *args: said.append(text)
    logged.train()
    return logged, [text for text in said if text.startswith('k-NN after')]


def test_the_curve_is_in_the_log_in_json_and_in_tensorboard(toy_runner):
    accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    runner, said = visualized(toy_runner, 'LocalVisBackend', 'TensorboardVisBackend')
    written, = Path(runner.log_dir).rglob('scalars.json')
    lines = [json.loads(line) for line in written.read_text().splitlines()]
    points = {line['step']: line for line in lines if 'knn/cls_top1_k5' in line}
    assert set(points) == {3, 6} and len(said) == 2
    runner.visualizer.close()
    events = accumulator.EventAccumulator(str(Path(runner.log_dir) / 'vis_data'))
    events.Reload()
    for name in ('knn/cls_top1_k5', 'knn/mean_top1_k1', 'knn/mean_top5_k5', 'knn/seconds'):
        curve = {event.step: event.value for event in events.Scalars(name)}
        assert curve == pytest.approx({step: point[name] for step, point in points.items()})
    assert f'cls_top1_k5 {points[3]["knn/cls_top1_k5"]:.2f} %' in said[0]
    assert 'after 1 epochs' in said[0] and '(40 training, 17 test images, ' in said[0]
    assert said[0].endswith(' s)')


def test_the_curve_reaches_wandb(toy_runner, monkeypatch):
    logged = []
    fake = types.SimpleNamespace(
        init=lambda **kwargs: None, log=lambda scalars, commit: logged.append(scalars),
        join=lambda: None, config=types.SimpleNamespace(update=lambda *args, **kwargs: None),
        run=types.SimpleNamespace(log_code=lambda name: None))
    monkeypatch.setitem(sys.modules, 'wandb', fake)
    visualized(toy_runner, 'WandbVisBackend')
    curve = [scalars['knn/mean_top1_k1'] for scalars in logged if 'knn/mean_top1_k1' in scalars]
    assert len(curve) == 2 and all(0 <= value <= 100 for value in curve)


def test_images_without_labels_stop_the_run_at_its_start(toy_runner, toy_images):
    class Unlabelled(type(toy_images(1))):
        def __init__(self):
            super().__init__([np.zeros((9, 9, 3), np.uint8)], [], serialize_data=False)

    DATASETS.register_module(name='ToyUnlabelled', module=Unlabelled, force=True)
    runner = toy_runner(hooks=[probe(test=dict(type='ToyUnlabelled'))])
    with pytest.raises(InputError, match='`test` .Unlabelled. has images without class labels'):
        runner.train()
    assert runner.iter == 0


def test_other_classes_among_the_test_images_stop_the_run_at_its_start(toy_runner):
    parts = {part: dict(type='ToyLabelled', labels=[0, 1, 2, 0], metainfo=dict(classes=names))
             for part, names in (('train', ['a', 'b', 'c']), ('test', ['b', 'a', 'c']))}
    # Also of a part of the images.
    runner = toy_runner(hooks=[probe(**parts, max_train=3)])
    with pytest.raises(InputError, match='KNNProbeHook: .* the same classes in another order'):
        runner.train()
    assert runner.iter == 0


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(interval=0), 'interval=0'), (dict(begin=-1), 'begin=-1'), (dict(ks=()), 'ks='),
    (dict(ks=(0, )), 'ks='), (dict(max_train=0), 'max_train'), (dict(max_test=-3), 'max_test')])
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        probe(**settings)


@pytest.mark.parametrize('text', [
    """
_base_ = ['{configs}/mae/mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k.py',
          '{configs}/_base_/hooks/knn_probe.py']
default_hooks = dict(knn_probe={{**_base_.knn_probe, 'interval': 20}})
""", """
_base_ = '{configs}/clothing/mae-amt_vit-mini-p8_1xb128-coslr-30e_clothing.py'
default_hooks = dict(knn_probe=dict(
    type='amt_mm.KNNProbeHook', interval=20,
    train=_base_.probe.train, test=_base_.probe.test))
"""])
def test_a_config_adds_it_with_a_few_lines(tmp_path, text):
    path = tmp_path / 'mine.py'
    path.write_text(text.format(configs=CONFIGS))
    cfg = Config.fromfile(path)
    hook = HOOKS.build(cfg.default_hooks.knn_probe)
    assert hook.interval == hook.begin == 20 and hook.train.pipeline[-1].type == 'PackInputs'
    assert cfg.default_hooks.checkpoint.type == 'CheckpointHook'  # the others stand
