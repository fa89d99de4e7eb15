"""Default hooks: in every run, each can be changed or dropped by name."""

import pytest
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from amt_mm.apis import launch
from amt_mm.config.default_hooks import DEFAULT_HOOKS, with_default_hooks
from amt_mm.config.options import knows
from amt_mm.engine.runner import OverlayRunner
from amt_mm.errors import InputError
from amt_mm.hooks import CheckpointKeysHook, ProgressBarHook
from amt_mm.registry import HOOKS
from amt_mm.reliability import StepSeedHook


def kinds(runner):
    return [type(hook).__name__ for hook in runner.hooks]


@pytest.fixture
def our_runner(toy_runner):
    """A toy runner of our own class."""
    return lambda **changes: toy_runner(kind=OverlayRunner, **changes)


@pytest.mark.parametrize('default_hooks', [None, dict(logger=None)])
def test_every_run_has_each_of_them_once(our_runner, default_hooks):
    names = kinds(our_runner(default_hooks=default_hooks))
    for hook in DEFAULT_HOOKS.values():
        assert names.count(HOOKS.get(hook['type']).__name__) == 1


def test_a_hook_is_changed_or_dropped_by_name(our_runner):
    runner = our_runner(default_hooks=dict(logger=None, seed=None, progress_bar=dict(interval=3)))
    assert 'StepSeedHook' not in kinds(runner)
    bar, = (hook for hook in runner.hooks if isinstance(hook, ProgressBarHook))
    assert bar.interval == 3


@pytest.mark.parametrize('name', ['clip', 'timer', 'checkpoint', 'stop_signal'])
def test_none_drops_the_hook_of_a_base_config(our_runner, name):
    runner = our_runner(default_hooks={'logger': None, name: None})
    kind = {'timer': 'IterTimerHook', 'checkpoint': 'SafeCheckpointHook',
            'stop_signal': 'StopSignalHook', 'clip': 'ClipEachHook'}[name]
    assert kind not in kinds(runner) and 'ResumePositionHook' in kinds(runner)


@pytest.mark.parametrize('own', [StepSeedHook(), dict(type='amt_mm.StepSeedHook'),
                                 dict(type=StepSeedHook)])
def test_a_custom_hook_of_the_same_type_replaces_it(own):
    assert 'seed' not in with_default_hooks(None, [own, Hook()])
    assert 'keys' in with_default_hooks(None, [own])


def test_mmengines_own_are_left_as_they_are():
    given = dict(logger=None, timer=dict(type='IterTimerHook'))
    merged = with_default_hooks(given, None)
    assert {name: merged[name] for name in given} == given


def test_options_may_name_them(capsys):
    cfg = Config(dict(model=dict(type='X')))
    assert knows(cfg, 'default_hooks.progress_bar')
    assert not knows(cfg, 'default_hooks.progres_bar')


@pytest.mark.parametrize('asked', [dict(strategy=dict(type='FSDPStrategy')),
                                   dict(runner_type='FlexibleRunner')])
def test_a_strategy_of_mmengine_is_refused(asked):
    with pytest.raises(InputError, match='leave them out; .*ShardedModel'):
        launch.build_runner(Config(asked))


def test_a_config_without_a_runner_type_is_run_by_ours(toy_runner, monkeypatch):
    built = []
    plain = toy_runner(kind=Runner)
    monkeypatch.setattr(launch.RUNNERS, 'build', lambda cfg: built.append(cfg) or plain)
    launch.build_runner(Config(dict()))
    assert built[0].runner_type == 'amt_mm.OverlayRunner'
    assert not any(isinstance(hook, CheckpointKeysHook) for hook in toy_runner(kind=Runner).hooks)
