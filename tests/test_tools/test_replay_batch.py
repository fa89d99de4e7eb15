"""replay_batch: the step is the very same, and what broke it is found."""

import os
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from distillation_toys import MODEL, multi_crop
from load_script import load_script
from mmengine.config import Config
from mmengine.hooks import Hook

from amt_mm.errors import InputError
from amt_mm.guidance import SaliencyUpdateHook
from amt_mm.hooks import TeacherTemperatureHook, TeacherUpdateHook
from amt_mm.random_streams import random_state, set_random_state
from amt_mm.reliability import NanGuardHook
from amt_mm.reliability.replay import replay_step
from amt_mm.reliability.step_record import read_step

TOOL = Path(__file__).parents[2] / 'tools/analysis_tools/replay_batch.py'
BAD = 3
ADAMW = dict(type='AdamW', lr=1e-3)


@pytest.fixture(scope='module')
def tool():
    return load_script(TOOL)


class Break(Hook):
    """Make the gradient of one parameter, or the weights, infinite at one iteration."""

    def __init__(self, at, weight=None, bias='neck.decoder_pred.bias'):
        self.at, self.weight, self.bias = at, weight, bias

    def before_train(self, runner):
        self.gradients = []
        bias = runner.model.get_parameter(self.bias)
        bias.register_hook(lambda gradient: self.gradients.append(gradient.clone()) or (
            gradient / 0 if runner.iter == self.at and not self.weight else gradient))

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == self.at and self.weight:
            runner.model.get_parameter(self.weight).data.view(-1)[5] = float('inf')


@pytest.fixture
def broken(toy_runner, toy_images, toy_mae):
    """Train until the guard stops; return the runner and its file."""

    def run(images=7, hooks=(), backbone=(), epochs=4, wrapper=(), pipeline=(), **changes):
        model = changes.pop('model', None) or toy_mae(build=False, backbone={
            **dict(type='amt_mm.AMTMAEViT', drop_path_rate=0.3), **dict(backbone)})
        settings = dict(model=model, default_scope='mmpretrain', optim_wrapper={
            **dict(type='OptimWrapper', optimizer=ADAMW), **dict(wrapper)})
        runner = toy_runner(hooks=[*hooks, NanGuardHook()], epochs=epochs,
                            dataset=toy_images(images, *pipeline), cfg=Config(settings),
                            **settings, **changes)
        with pytest.raises(InputError, match='is not'):
            runner.train()
        file, = (Path(runner.work_dir) / 'nonfinite').iterdir()
        return runner, file

    return run


def bad_images(toy_images):
    images = [image.astype(np.float32) for image in toy_images(7).images]
    images[BAD][:] = np.inf
    return images


def equal_with(content, cfg, seed):
    """Whether other random numbers give the same: by chance they may, for one sample."""
    content['batches'][0].forward_random['torch'] = torch.Generator().manual_seed(seed).get_state()
    return replay_step(content, cfg).equal


@pytest.mark.parametrize('wrapper', [
    dict(), dict(accumulative_counts=3), dict(type='amt_mm.BF16OptimWrapper')],
    ids=['fp32', 'accumulated', 'bf16'])
def test_loss_and_gradient_are_those_of_training(broken, wrapper):
    """Guided plans, stochastic depth: all that is drawn is drawn again, without the maps."""
    watch = Break(at=5)
    runner, file = broken(hooks=[watch, SaliencyUpdateHook(1, 1)], wrapper=wrapper)
    content = read_step(file)
    again = replay_step(content, runner.cfg)
    assert again.equal and len(again.losses) == len(content['batches'])
    assert again.where is None and again.weights == []
    batches = wrapper.get('accumulative_counts', 1)
    largest = float(sum(watch.gradients[-batches:]).abs().max())
    assert again.gradients['neck.decoder_pred.bias'] == pytest.approx(largest, rel=1e-6)
    assert not all(equal_with(content, runner.cfg, seed) for seed in range(12))


def test_of_ibot_the_teachers_temperature_too(broken, monkeypatch):
    """It has risen, and is no weight; neither are the centers those of the step's end."""
    monkeypatch.setattr('conftest.PlanRecorder.before_train', lambda *args: None)
    runner, file = broken(hooks=[TeacherTemperatureHook(.04, .2, 2), TeacherUpdateHook(),
                                 Break(5, bias='head.gain')],
                          model=MODEL, pipeline=[multi_crop()])
    content = read_step(file)
    assert float(content['buffers']['teacher_temperature']) == pytest.approx(.2)
    assert replay_step(content, runner.cfg).equal
    assert 'teacher_temperature' not in runner.model.state_dict()
    content['buffers']['teacher_temperature'].fill_(.04)
    assert not replay_step(content, runner.cfg).equal


def test_random_states_go_on_as_they_did():
    def draw():
        return random.random(), float(np.random.normal()), float(torch.rand(()))

    np.random.normal()  # numpy keeps the second of a pair
    state = random_state()
    first = draw()
    assert draw() != first
    set_random_state(state)
    assert draw() == first


def test_a_bad_sample_is_found(broken, toy_images, tool, capsys):
    runner, file = broken(bad_images(toy_images))
    again = replay_step(read_step(file), runner.cfg)
    step = runner.recorder.steps[-1]
    row = step['sample_idx'].index(BAD)
    assert again.where['rows'] == [row] and again.where['entered']
    assert again.where['module'].startswith('backbone.') and again.where['batch'] == 0
    finite = [np.isfinite(sample['loss']) for sample in again.samples[0]]
    assert finite == [sample != BAD for sample in step['sample_idx']]
    tool.main([str(file)])
    text = capsys.readouterr().out
    assert 'bit for bit' in text and 'loss is not finite' in text
    table = text[text.index('| sample'):].splitlines()
    assert table[2].split('|')[1].strip() == str(BAD) and 'yes' in table[2]
    assert len([line for line in table[:5] if 'yes' in line]) == 1


def test_a_bad_weight_is_found(broken, tool, capsys):
    runner, file = broken(hooks=[Break(4, 'backbone.layers.1.ffn.layers.1.weight')])
    again = replay_step(read_step(file), runner.cfg)
    assert again.weights == ['backbone.layers.1.ffn.layers.1.weight']
    assert again.where['module'].startswith('backbone.layers.1.ffn.layers.1')
    assert not again.where['entered']
    tool.main([str(file)])
    assert 'backbone.layers.1.ffn.layers.1.weight' in capsys.readouterr().out


def test_a_config_may_be_given_instead(broken, tool, capsys, tmp_path, toy_images):
    runner, file = broken(bad_images(toy_images))
    config = tmp_path / 'config.py'
    runner.cfg.dump(config)
    tool.main([str(file), '--config', str(config), '--rows', '1'])
    assert 'bit for bit' in capsys.readouterr().out


def refused(tool, capsys, *argv):
    with pytest.raises(SystemExit) as ended:
        tool.main([str(arg) for arg in argv])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith('error: ') and said.count('\n') == 1
    return said


def test_bad_files_end_in_one_line(tool, capsys, tmp_path, broken, toy_images):
    assert 'no such file' in refused(tool, capsys, tmp_path / 'x.pt')
    torch.save({'state_dict': {}}, tmp_path / 'other.pt')
    assert 'not a step' in refused(tool, capsys, tmp_path / 'other.pt')
    _, file = broken(bad_images(toy_images))
    whole = file.read_bytes()
    for size in (0, 100, len(whole) // 2, len(whole) - 1):
        (tmp_path / 'cut.pt').write_bytes(whole[:size])
        assert 'truncated' in refused(tool, capsys, tmp_path / 'cut.pt')
    content = read_step(file)
    batch = replace(content['batches'][0], data={'inputs': 0, 'data_samples': [Unknown()]})
    for changes, wanted in (({'config': ''}, '--config'),
                            ({'state_dict': {}}, 'do not fit'),
                            ({'batches': [batch]}, 'Unknown')):
        torch.save({**content, **changes}, tmp_path / 'changed.pt')
        assert wanted in refused(tool, capsys, tmp_path / 'changed.pt')


class Unknown:
    """A sample of another kind, such as mmdet's."""


class Touch:
    """What a pickle may do that is more than data."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f'touch {self.path}',)


@pytest.mark.parametrize('kind', ['subprocess.Popen', 'amt_mm.registry.X', 'antigravity'])
def test_no_code_of_the_file_is_run(tool, capsys, tmp_path, broken, toy_images, kind):
    _, file = broken(bad_images(toy_images))
    content = read_step(file)
    mark = tmp_path / 'touched'
    torch.save({**content, 'extra': Touch(mark)}, tmp_path / 'changed.pt')
    assert 'code from a file is not run' in refused(tool, capsys, tmp_path / 'changed.pt')
    for model in (f"dict(type='{kind}', args=['touch', '{mark}'])",
                  f"dict(type='amt_mm.AMTMAE', backbone=dict(conv_type='{kind}.x'))"):
        config = (f"model = {model}\noptim_wrapper = dict(type='OptimWrapper')\n"
                  f"open('{mark}', 'w')")
        torch.save({**content, 'config': config}, tmp_path / 'changed.pt')
        assert f"'{kind}" in refused(tool, capsys, tmp_path / 'changed.pt')
    assert not mark.exists()
