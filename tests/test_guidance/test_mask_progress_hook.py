"""MaskProgressHook: from 0 to 1, and the same after a resume."""

import pytest
from mmengine.hooks import Hook

from amt_mm.errors import InputError
from amt_mm.guidance import MaskProgressHook, SaliencyUpdateHook


class Watch(Hook):
    priority = 'LOW'

    def __init__(self):
        self.seen = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(runner.model.data_preprocessor.mask_generator.progress)


def run(toy_runner, toy_mae, name, by_epoch=True, **changes):
    watch = Watch()
    model = toy_mae(build=False, data_preprocessor=dict(
        mask_generator=dict(type='amt_mm.AnnealedMaskGenerator')))
    hooks = [MaskProgressHook(), SaliencyUpdateHook(1, by_epoch=by_epoch), watch]
    runner = toy_runner(name, hooks, model=model, **changes)
    runner.train()
    return runner, watch.seen


def test_progress_runs_from_0_to_1_and_a_resumed_run_has_the_same(toy_runner, toy_mae):
    whole, seen = run(toy_runner, toy_mae, 'whole', epochs=3)
    assert seen == pytest.approx([i / 8 for i in range(9)])
    assert [step['thrown'].shape[1] for step in whole.recorder.steps[::3]] == [0, 14, 14]
    _, again = run(toy_runner, toy_mae, 'again', epochs=3, resume=True,
                   load_from=f'{whole.work_dir}/epoch_2.pth')
    assert again == seen[6:]


def test_a_single_iteration_has_a_progress_too(toy_runner, toy_mae):
    loop = dict(type='IterBasedTrainLoop', max_iters=1)
    _, seen = run(toy_runner, toy_mae, 'one', by_epoch=False, train_cfg=loop)
    assert seen == [0]


def test_a_generator_without_progress_is_named(toy_runner):
    with pytest.raises(InputError, match='AMTMaskGenerator does not use progress'):
        toy_runner(hooks=[MaskProgressHook()]).train()
