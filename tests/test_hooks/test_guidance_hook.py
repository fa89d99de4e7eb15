"""GuidanceHook: no run under the name of guidance whose masks are all random."""

import pytest
import torch
from mmengine.hooks import Hook

from amt_mm.errors import InputError
from amt_mm.hooks import GuidanceHook, SaliencyUpdateHook, TokenLossHook

HOUSE = dict(default_hooks=dict(logger=None), epochs=1)


def test_a_run_that_waits_for_maps_in_vain_does_not_begin(toy_runner):
    runner = toy_runner(**HOUSE)
    with pytest.raises(InputError, match='AMTMaskGenerator waits for maps.* would be random'):
        runner.train()
    assert runner.iter == 0 and not runner.recorder.steps


@pytest.mark.parametrize('hook', [dict(type=SaliencyUpdateHook, begin=0, interval=1),
                                  dict(type=TokenLossHook, begin=0)], ids=lambda h: h['type'].__name__)
def test_each_that_makes_maps_will_do(toy_runner, hook):
    runner = toy_runner(hooks=[hook], **HOUSE)
    GuidanceHook().before_train(runner)


def test_what_needs_no_maps_and_what_has_them_pass(toy_runner, toy_mae):
    runner = toy_runner(**HOUSE)
    preprocessor = runner.model.data_preprocessor
    preprocessor.store = object()
    GuidanceHook().before_train(runner)
    preprocessor.store = None
    preprocessor.mask_generator.needs_weights = False
    GuidanceHook().before_train(runner)
    runner.model = torch.nn.Linear(1, 1)
    GuidanceHook().before_train(runner)


def test_a_hook_of_ones_own_may_bring_maps(toy_runner):
    class Own(Hook):
        def before_train_epoch(self, runner):
            runner.model.data_preprocessor.store = None

    toy_runner(hooks=[Own()], default_hooks=dict(logger=None, guidance=None), epochs=1).train()
