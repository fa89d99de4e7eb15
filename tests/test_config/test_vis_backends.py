"""--tensorboard and --wandb add a backend and leave all else as it is."""

import sys
from types import ModuleType

import pytest
from mmengine.config import Config

from amt_mm.config.vis_backends import record_in
from amt_mm.errors import InputError

LOCAL, BOARD = dict(type='LocalVisBackend'), dict(type='TensorboardVisBackend')


def recorded(visualizer, kind='tensorboard'):
    cfg = Config(dict(work_dir='work_dirs/first'))
    if visualizer is not ...:
        cfg.visualizer = visualizer
    record_in(cfg, kind)
    return cfg.visualizer


@pytest.mark.parametrize('visualizer', [..., None, dict(type='Visualizer'), dict(
    type='Visualizer', vis_backends=[]), dict(type='Visualizer', vis_backends=LOCAL)])
def test_beside_mmengines_own_file(visualizer):
    assert recorded(visualizer) == dict(type='Visualizer', vis_backends=[LOCAL, BOARD])


def test_what_the_config_says_stays():
    own = dict(type='DetLocalVisualizer', name='v', vis_backends=[
        dict(type='mmengine.TensorboardVisBackend', save_dir='elsewhere')])
    assert recorded(dict(own)) == own
    assert recorded(dict(type='UniversalVisualizer', vis_backends=[BOARD]), 'tensorboard') == dict(
        type='UniversalVisualizer', vis_backends=[BOARD])


def test_wandb_is_offline_unless_one_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, 'wandb', ModuleType('wandb'))
    monkeypatch.delenv('WANDB_MODE', raising=False)
    kwargs = dict(project='amt_mm', group='first', name='first')
    assert recorded(None, 'wandb').vis_backends == [
        LOCAL, dict(type='WandbVisBackend', init_kwargs=dict(mode='offline', **kwargs))]
    monkeypatch.setenv('WANDB_MODE', 'online')
    assert recorded(None, 'wandb').vis_backends[1].init_kwargs.mode == 'online'


@pytest.mark.parametrize(('kind', 'module'), [('wandb', 'wandb'),
                                              ('tensorboard', 'torch.utils.tensorboard')])
def test_a_missing_package_is_one_line(monkeypatch, kind, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError, match=f'^--{kind}: .*; to install it: pip install {kind}$'):
        recorded(None, kind)
