"""GuidanceHook: refuse guided runs whose masks would all be random."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from amt_mm.engine.runner import OverlayRunner
from amt_mm.errors import InputError
from amt_mm.guidance import (
    GuidanceHook,
    MapHook,
    MapsFromFileHook,
    MaskProgressHook,
    SaliencyUpdateHook,
    TokenLossHook,
)

CONFIGS = Path(__file__).parents[2] / 'configs'


def test_a_run_without_a_hook_that_makes_maps_is_refused(toy_runner):
    runner = toy_runner(hooks=[GuidanceHook()])
    with pytest.raises(InputError, match='AMTMaskGenerator needs maps.* would be random'):
        runner.train()
    assert runner.iter == 0 and not runner.recorder.steps


@pytest.mark.parametrize('hook', [
    dict(type=SaliencyUpdateHook, begin=0, interval=1), dict(type=TokenLossHook, begin=0),
    dict(type=MapsFromFileHook, path='maps.npz'), dict(type=MapHook, begin=0)],
    ids=lambda hook: hook['type'].__name__)
def test_every_hook_that_makes_maps_is_accepted(toy_runner, hook):
    runner = toy_runner(hooks=[hook])
    GuidanceHook().before_train(runner)


def test_what_needs_no_maps_and_what_has_them_pass(toy_runner):
    runner = toy_runner()
    preprocessor = runner.model.data_preprocessor
    preprocessor.store = object()
    GuidanceHook().before_train(runner)
    preprocessor.store = None
    preprocessor.mask_generator.needs_weights = False
    GuidanceHook().before_train(runner)
    runner.model = torch.nn.Linear(1, 1)
    GuidanceHook().before_train(runner)


def test_an_annealed_generator_needs_its_progress_at_once(toy_runner, toy_mae):
    model = toy_mae(build=False, data_preprocessor=dict(
        mask_generator=dict(type='amt_mm.AnnealedMaskGenerator')))
    runner = toy_runner(hooks=[SaliencyUpdateHook(1)], model=model)
    with pytest.raises(InputError, match='MaskGenerator needs the progress .*MaskProgressHook'):
        GuidanceHook().before_train(runner)
    runner.register_hook(MaskProgressHook())
    GuidanceHook().before_train(runner)


@pytest.mark.parametrize('hooks', [None, dict(guidance=None)])
def test_runs_by_config_have_it_unless_it_is_left_out(hooks, tmp_path):
    cfg = Config.fromfile(CONFIGS / 'clothing/mae-amt_vit-mini-p8_1xb128-coslr-30e_clothing.py')
    cfg.work_dir = str(tmp_path)
    cfg.visualizer = None
    cfg.experiment_name = tmp_path.name
    cfg.merge_from_dict({f'default_hooks.{name}': hook for name, hook in (hooks or {}).items()})
    runner = OverlayRunner.from_cfg(cfg)
    assert any(isinstance(hook, GuidanceHook) for hook in runner.hooks) == (hooks is None)
