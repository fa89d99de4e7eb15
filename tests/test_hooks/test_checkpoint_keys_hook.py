"""CheckpointKeysHook: a checkpoint that does not fit stops the run before it starts."""

import pytest
import torch
from distillation_toys import MODEL
from mmpretrain.registry import MODELS

from amt_mm.errors import InputError
from amt_mm.hooks import CheckpointKeysHook


@pytest.fixture
def start(toy_runner, tmp_path):
    """Train an epoch from weights that are saved as ``checkpoint.pth``; return both states."""

    def run(state, wrapped=True, **settings):
        file = tmp_path / 'checkpoint.pth'
        torch.save({'state_dict': state} if wrapped else state, file)
        runner = toy_runner(hooks=[CheckpointKeysHook()], epochs=1, load_from=str(file),
                            **settings)
        before = {name: value.clone() for name, value in runner.model.state_dict().items()}
        try:
            # Loading is the first step of training; without a step the weights stay.
            runner.load_or_resume()
        finally:
            run.before, run.after = before, runner.model.state_dict()
        return runner

    return run


@pytest.mark.parametrize('prefix', ['', 'module.'])
@pytest.mark.parametrize('wrapped', [True, False])
def test_a_checkpoint_that_fits_is_loaded(start, toy_mae, prefix, wrapped):
    state = toy_mae(seed=9).state_dict()
    start({prefix + name: value for name, value in state.items()}, wrapped)
    for name, value in state.items():
        assert torch.equal(start.after[name], value), name


def test_an_encoder_alone_is_enough(start, toy_mae):
    state = {name: value for name, value in toy_mae(seed=9).state_dict().items()
             if name.startswith('backbone.')}
    start(state)
    assert torch.equal(start.after['backbone.cls_token'], state['backbone.cls_token'])


@pytest.mark.parametrize('change', ['other names', 'no encoder', 'other width', 'other depth',
                                    'nothing'])
def test_a_checkpoint_that_does_not_fit_is_refused_before_anything_is_copied(
        start, toy_mae, change):
    state = toy_mae(seed=9).state_dict()
    if change == 'other names':
        state = {f'backbone.stem.{i}': value for i, value in enumerate(state.values())}
    elif change == 'no encoder':
        state = {f'encoder.{name}': value for name, value in state.items()}
    elif change == 'other width':
        state = toy_mae(backbone=dict(arch=dict(
            embed_dims=36, num_layers=2, num_heads=3, feedforward_channels=48))).state_dict()
    elif change == 'other depth':
        state = toy_mae(backbone=dict(arch=dict(
            embed_dims=24, num_layers=1, num_heads=3, feedforward_channels=48))).state_dict()
    else:
        state = {}
    with pytest.raises(InputError, match=r'checkpoint\.pth: fills \d+ of \d+'):
        start(state)
    for name, value in start.before.items():
        assert torch.equal(start.after[name], value), name


def test_a_teacher_is_not_left_random(start, monkeypatch):
    monkeypatch.setattr('conftest.PlanRecorder.before_train', lambda *args: None)
    state = MODELS.build(MODEL).state_dict()
    start(state, model=MODEL)
    assert all(torch.equal(start.after[name], value) for name, value in state.items())
    with pytest.raises(InputError, match='no teacher.* replace load_from by default_hooks.pretr'):
        start({name: value for name, value in state.items() if not name.startswith('teacher.')},
              model=MODEL)


def test_a_run_without_a_checkpoint_passes(toy_runner):
    toy_runner(hooks=[CheckpointKeysHook()], epochs=1).train()
