"""ScheduleHook: from the step where it stands, a resumed run has the settings of its config."""

import copy
import math
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from torch import nn

from amt_mm.errors import InputError

EPOCH_ENDS = dict(type='CheckpointHook', interval=1)
EACH_STEP = dict(type='CheckpointHook', interval=1, by_epoch=False)


class Settings(Hook):
    """Of each group of parameters, the numbers that each step was made with."""

    def __init__(self):
        self.seen = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        # Of a teacher's momentum and the like, how far training is decides.
        self.seen[runner.iter] = [runner.max_iters, *(
            {name: group.get(name) for name in ('lr', 'weight_decay', 'betas', 'momentum')}
            for group in runner.optim_wrapper.param_groups)]


class Stop(Hook):
    """A run that breaks off after a number of iterations."""

    priority = 'LOWEST'

    def __init__(self, iterations):
        self.iterations = iterations

    def after_train_epoch(self, runner):
        if runner.iter == self.iterations:
            raise KeyboardInterrupt


class Line(BaseModel):
    """Trained in no time."""

    def __init__(self):
        super().__init__()
        self.body, self.neck = nn.Linear(1, 1), nn.Linear(1, 1)

    def forward(self, inputs, mode):
        return dict(loss=self.neck(self.body(inputs)).square().mean())


@pytest.fixture
def train(toy_runner, caplog):
    """The factory of trained runs of 3 steps an epoch; ``runner.said`` are its warnings."""
    def make(work_dir, epochs, schedule, lr=1e-3, optimizer='AdamW', hooks=(), loader=(),
             checkpoint=(), wrapper=(), **changes):
        settings, by_epoch = Settings(), 'train_cfg' not in changes
        caplog.clear()
        loop = changes.pop('train_cfg', dict(by_epoch=True, max_epochs=epochs))
        runner = toy_runner(
            work_dir, custom_hooks=[settings, *hooks], model=Line(), train_cfg=loop,
            param_scheduler=copy.deepcopy(schedule),
            cfg=dict(train_cfg=loop, optim_wrapper=dict(wrapper)),
            dataset=[dict(inputs=torch.tensor([i + 1.])) for i in range(7)], loader=loader,
            optim_wrapper=dict(
                type='OptimWrapper', optimizer=dict(type=optimizer, lr=lr, weight_decay=.05),
                paramwise_cfg=dict(custom_keys={'neck': dict(lr_mult=.5)}), **dict(wrapper)),
            default_hooks=dict(logger=None, checkpoint=dict(
                EPOCH_ENDS if by_epoch else EACH_STEP, **dict(checkpoint))), **changes)
        runner.logger.addHandler(caplog.handler)
        runner.settings = settings
        runner.train()
        runner.said = [record.getMessage() for record in caplog.records
                       if record.module == 'schedule_hook']
        return runner
    return make


def chain(epochs, **converted):
    """What configs/ have: a warm-up, a cosine down and a weight decay that rises."""
    return [dict(type='LinearLR', start_factor=.1, begin=0, end=1, convert_to_iter_based=True),
            dict(type='CosineAnnealingLR', T_max=epochs - 1, begin=1, end=epochs, eta_min=1e-5,
                 **converted),
            dict(type='CosineAnnealingParamScheduler', param_name='weight_decay',
                 eta_min_ratio=10, T_max=epochs, end=epochs, **converted)]


CASES = {
    'by epoch': (chain(2), chain(4)),
    'converted': (chain(2, convert_to_iter_based=True), chain(4, convert_to_iter_based=True)),
    'default end': ([dict(type='CosineAnnealingLR', eta_min_ratio=.01)], ) * 2,
    'milestones': ([dict(type='MultiStepLR', milestones=[1], gamma=.1)],
                   [dict(type='MultiStepLR', milestones=[2, 3], gamma=.1)]),
    'poly': ([dict(type='PolyLR', power=.9, eta_min=1e-6)], ) * 2,
    'momentum': ([dict(type='CosineAnnealingMomentum', T_max=2, end=2, eta_min=.5)],
                 [dict(type='CosineAnnealingMomentum', T_max=4, end=4, eta_min=.5)]),
    'another kind': (chain(2), [dict(type='ExponentialLR', gamma=.9, by_epoch=False)]),
    'none any more': (chain(2), None),
    'the first ones': (None, chain(4)),
}


@pytest.mark.slow
@pytest.mark.parametrize(('case', 'optimizer'), [*((case, 'AdamW') for case in CASES),
                                                 ('momentum', 'SGD')])
def test_it_has_the_settings_of_an_unbroken_run_of_the_new_config(train, case, optimizer):
    before, after = CASES[case]
    short = train('short', 2, before, hooks=[EACH_STEP], optimizer=optimizer)
    whole = train('whole', 4, after, optimizer=optimizer)
    for name, done in (('iter_4', 4), ('epoch_2', 6)):
        resumed = train(name, 4, after, resume=True, load_from=f'{short.work_dir}/{name}.pth',
                        hooks=[EACH_STEP], optimizer=optimizer)
        expected = {step: whole.settings.seen[step] for step in range(done, 12)}
        assert resumed.settings.seen == expected
        assert 'max_epochs 2 -> 4' in resumed.said[0]
    # What it saves is as good as the unbroken run's.
    again = train('again', 4, after, resume=True, load_from=f'{resumed.work_dir}/iter_8.pth',
                  optimizer=optimizer)
    assert again.settings.seen == {step: expected[step] for step in range(8, 12)}
    assert not again.said


def test_the_line_names_what_differs_and_both_rates(train):
    short = train('short', 3, chain(3))
    resumed = train('long', 6, chain(6), lr=2e-3, resume=True,
                    load_from=f'{short.work_dir}/epoch_3.pth')
    line, = resumed.said
    assert 'max_epochs 3 -> 6, param_scheduler.1.T_max 2 -> 5, param_scheduler.1.end 3 -> 6' in line
    # Two of five epochs down the new cosine, and one of two down the old one.
    rate = 1e-5 + (2e-3 - 1e-5) * (1 + math.cos(math.pi * 2 / 5)) / 2
    assert 'at iteration 9 training continues' in line
    assert line.endswith(f'with a learning rate of {rate:.3g} instead of {(1e-3 + 1e-5) / 2:.3g}')


@pytest.mark.parametrize(('change', 'said'), [
    (dict(lr=2e-3), 'lr 0.001 -> 0.002'),
    (dict(schedule=chain(4)[:2]), 'schedulers 3 -> 2'),
    (dict(loader=dict(batch_size=2)), 'iterations of an epoch 3 -> 4')])
def test_other_changes(train, change, said):
    """An epoch of 4 iterations counts as if the first one had had 4, too."""
    short = train('short', 4, chain(4), hooks=[EACH_STEP])
    settings = {'schedule': chain(4), **change}
    whole = train('whole', 4, **settings)
    resumed = train('resumed', 4, **settings, resume=True,
                    load_from=f'{short.work_dir}/epoch_1.pth')
    length = len(whole.train_dataloader)
    assert resumed.settings.seen == {step: whole.settings.seen[step]
                                     for step in range(length, 4 * length)}
    assert said in resumed.said[0]


def test_without_a_change_it_says_nothing_and_takes_what_the_checkpoint_has(train):
    """Also what a hook of the user's has made of it."""
    whole = train('whole', 4, chain(4), hooks=[EACH_STEP])
    path = Path(whole.work_dir, 'iter_5.pth')
    checkpoint = torch.load(path, weights_only=False)
    checkpoint['optimizer']['param_groups'][0]['lr'] = .125
    torch.save(checkpoint, path)
    resumed = train('resumed', 4, chain(4), resume=True, load_from=str(path))
    assert not resumed.said and resumed.settings.seen[5][1]['lr'] == .125


def test_loops_by_iteration(train):
    def loop(last):
        return dict(train_cfg=dict(by_epoch=False, max_iters=last), epochs=None, schedule=[
            dict(type='CosineAnnealingLR', by_epoch=False, T_max=last, end=last)])

    short, whole = train('short', **loop(4)), train('whole', **loop(8))
    resumed = train('resumed', **loop(8), resume=True, load_from=f'{short.work_dir}/iter_4.pth')
    assert resumed.settings.seen == {step: whole.settings.seen[step] for step in range(4, 8)}
    assert 'max_iters 4 -> 8, param_scheduler.0.T_max 4 -> 8' in resumed.said[0]


def refused(train, *args, match, **changes):
    with pytest.raises(InputError, match=match):
        train(*args, **changes)


def test_what_has_no_meaning_is_refused(train):
    short = train('short', 3, chain(3), hooks=[EACH_STEP])
    from_end = dict(resume=True, load_from=f'{short.work_dir}/epoch_3.pth')
    refused(train, 'a', 2, chain(2), **from_end,
            match='nothing is left to train: train_cfg.max_epochs=2, 3 are done')
    refused(train, 'a', 3, chain(3), **from_end, lr=2e-3, match='nothing is left to train')
    # The config stops the schedule where it stopped before.
    refused(train, 'a', 9, chain(3), **from_end,
            match='nothing is left of the schedule.*param_scheduler.1 .* at iteration 9 of 27.*'
                  'param_scheduler.1.end=')
    refused(train, 'a', 4, chain(4), **from_end, optimizer='SGD',
            match='optimiser is another one, without dampening')
    refused(train, 'a', 4, [dict(type='ReduceOnPlateauLR', monitor='loss')], **from_end,
            match='follows a metric')


def test_a_cycle_of_accumulation_is_ended_as_it_began(train):
    short = train('short', 2, None, hooks=[EACH_STEP], wrapper=dict(accumulative_counts=2))
    refused(train, 'a', 2, None, wrapper=dict(accumulative_counts=3), resume=True,
            load_from=f'{short.work_dir}/iter_1.pth', match='a cycle of 2 batches .*counts=3')
    for name in ('iter_1', 'iter_2'):
        counts = {'iter_1': 2, 'iter_2': 3}[name]
        train(name, 2, None, wrapper=dict(accumulative_counts=counts), resume=True,
              load_from=f'{short.work_dir}/{name}.pth')


def test_groups_of_other_parameters_are_refused(train):
    short = train('short', 1, None)
    path = Path(short.work_dir, 'epoch_1.pth')
    checkpoint = torch.load(path, weights_only=False)
    groups = checkpoint['optimizer']['param_groups']
    groups[0]['params'] += groups.pop()['params']
    torch.save(checkpoint, path)
    refused(train, 'a', 2, None, resume=True, load_from=str(path),
            match='optimiser has 2 groups of parameters, and the config.s 3')


def test_a_finished_run_that_changes_nothing_is_finished(train):
    short = train('short', 2, chain(2))
    again = train('short', 2, chain(2), resume=True)
    line, = again.said
    assert 'nothing is left to train: train_cfg.max_epochs=2, 2 are done' in line
    assert not again.settings.seen and (again.epoch, again.iter) == (2, 6) == (
        short.epoch, short.iter)


def test_a_finished_result_outlives_the_run_that_extends_it(train):
    limit = dict(checkpoint=dict(max_keep_ckpts=2))
    train('run', 3, chain(3), **limit)
    extended = train('run', 6, chain(6), resume=True, **limit)
    kept = sorted(path.name for path in Path(extended.work_dir).glob('epoch_*.pth'))
    assert kept == ['epoch_3.pth', 'epoch_5.pth', 'epoch_6.pth']
    # One that stopped on its way is none.
    with pytest.raises(KeyboardInterrupt):
        train('broken', 6, chain(6), **limit, hooks=[Stop(9)])
    extended = train('broken', 8, chain(8), resume=True, **limit)
    kept = sorted(path.name for path in Path(extended.work_dir).glob('epoch_*.pth'))
    assert kept == ['epoch_7.pth', 'epoch_8.pth']


def test_a_schedule_that_ends_before_training_is_said_to(train):
    run = train('run', 4, chain(2))
    line, = run.said
    assert 'param_scheduler.1 brings the learning rate to its final value' in line
    assert 'at iteration 6 of 12' in line
    # A resumed run was told before, and goes on.
    resumed = train('run', 4, chain(2), resume=True, load_from=f'{run.work_dir}/epoch_3.pth')
    assert len(resumed.settings.seen) == 3
    assert not train('warm', 4, chain(4)[:1]).said


def test_a_warm_up_of_one_step_is_warned_of(train):
    """MMEngine's LinearLR would leave the run at the rate of its first step."""
    warm_up = dict(type='LinearLR', start_factor=1e-4, begin=0, end=1)
    run = train('run', 2, [warm_up])
    assert run.settings.seen[5][1]['lr'] == pytest.approx(1e-7)
    line, = run.said
    assert 'param_scheduler.0 lasts one step' in line and 'stays at 0.0001 of its value' in line
    assert not train('longer', 2, [dict(warm_up, convert_to_iter_based=True)]).said


def test_a_checkpoint_without_the_state_of_the_optimizer(train):
    short = train('short', 4, chain(4), checkpoint=dict(save_optimizer=False))
    resumed = train('resumed', 4, chain(4), resume=True, load_from=f'{short.work_dir}/epoch_2.pth')
    assert resumed.settings.seen == {step: short.settings.seen[step] for step in range(6, 12)}
    assert 'no optimiser state; the optimiser starts fresh' in resumed.said[0]
