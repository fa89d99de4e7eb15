"""scaled_schedule: every calendar follows the epochs, or the schedule is refused."""

import pytest
from mmengine.config import Config

from amt_mm import shipped
from amt_mm.apis import comparison
from amt_mm.errors import InputError
from amt_mm.guidance import SaliencyUpdateHook
from lab.study.schedule import scaled_schedule

AMT = 'clothing/mae-amt_vit-mini-p8_1xb128-coslr-30e_clothing.py'


def config(**changes):
    return Config(dict(train_cfg=dict(max_epochs=30), **changes))


def stages(cfg):
    return [(stage.begin, stage.end, stage.get('T_max')) for stage in cfg.param_scheduler]


@pytest.mark.slow
@pytest.mark.parametrize(('epochs', 'wanted', 'begin', 'checkpoint'), [
    (3, [(0, 1, None), (1, 3, 2)], 1, 1), (12, [(0, 1, None), (1, 12, 11)], 3, 4),
    (39, [(0, 4, None), (4, 39, 35)], 10, 13),
    (45, [(0, 5, None), (5, 45, 40)], 12, 15),
    (300, [(0, 30, None), (30, 300, 270)], 80, 100),
    (30, [(0, 3, None), (3, 30, 27)], 8, 10)])
def test_a_real_schedule_keeps_its_shares(epochs, wanted, begin, checkpoint):
    cfg = comparison.resolved(str(shipped.configs_folder() / AMT))
    before = cfg.pretty_text
    scaled = scaled_schedule(cfg, epochs)
    assert stages(scaled) == wanted
    hook, = scaled.custom_hooks
    assert (hook.begin, hook.interval) == (begin, begin)
    assert scaled.default_hooks.checkpoint.interval == checkpoint
    assert scaled.default_hooks.logger.interval == 20
    assert scaled.train_cfg.max_epochs == epochs
    assert cfg.pretty_text == before
    if epochs == 30:
        assert scaled.pretty_text == before


def test_stages_that_do_not_end_and_periods_of_their_own():
    cfg = config(param_scheduler=[
        dict(type='CosineAnnealingLR', T_max=10, begin=5, end=30),
        dict(type='mmengine.ConstantMomentum', begin=3, end=float('inf')),
        dict(type='PolyParamScheduler', param_name='lr')])
    cosine, constant, poly = scaled_schedule(cfg, 60).param_scheduler
    assert (cosine.T_max, cosine.begin, cosine.end) == (20, 10, 60)
    assert (constant.begin, constant.end) == (6, float('inf'))
    assert set(poly) == {'type', 'param_name'}


def test_one_stage_that_is_no_list_and_iterations():
    cfg = config(param_scheduler=dict(type='LinearLR', by_epoch=False, begin=0, end=45))
    assert scaled_schedule(cfg, 20).param_scheduler.end == 30


def test_what_a_hook_leaves_out_is_scaled_from_its_default():
    cfg = config(custom_hooks=[dict(type='amt_mm.SaliencyUpdateHook', end=20),
                               dict(type='amt_mm.TokenLossHook', begin=0),
                               dict(type='amt_mm.MaskProgressHook')],
                 default_hooks=dict(checkpoint=dict(interval=6), timer=dict(type='IterTimerHook'),
                                    stop_signal=None))
    scaled = scaled_schedule(cfg, 15)
    assert scaled.custom_hooks[0] == dict(type='amt_mm.SaliencyUpdateHook', begin=20, interval=20,
                                          end=10)
    assert scaled.custom_hooks[1].begin == 0
    assert scaled.default_hooks.checkpoint.interval == 3


class Derived(SaliencyUpdateHook):
    def __init__(self, begin=6, **kwargs):
        super().__init__(begin, **kwargs)


def test_derived_hooks_are_scaled_too():
    cfg = config(custom_hooks=[dict(type=Derived), dict(type='amt_mm.MapsFromFileHook', begin=10),
                               dict(type='amt_mm.KNNProbeHook', begin=4)])
    derived, given, probe = scaled_schedule(cfg, 15).custom_hooks
    assert derived == dict(type=Derived, begin=3, interval=20)
    assert given == dict(type='amt_mm.MapsFromFileHook', begin=5)
    assert probe == dict(type='amt_mm.KNNProbeHook', begin=2, interval=5)


@pytest.mark.parametrize(('changes', 'message'), [
    (dict(param_scheduler=[dict(type='MultiStepLR', milestones=[20])]), 'MultiStepLR counts'),
    (dict(default_hooks=dict(temperature=dict(epochs=5))), 'epochs=5 of'),
    (dict(custom_hooks=[dict(type='EMAHook', begin=4)]), 'begin=4 of EMAHook'),
    (dict(param_scheduler=[dict(type='LinearLR', begin=0, end=3),
                           dict(type='CosineAnnealingLR', begin=3, end=4, T_max=1),
                           dict(type='ConstantLR', begin=4, end=30)]), 'nothing is left of Cos')])
def test_schedules_that_cannot_be_scaled_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        scaled_schedule(config(**changes), 8)
