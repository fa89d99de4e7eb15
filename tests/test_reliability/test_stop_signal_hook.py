"""StopSignalHook: where it stops, what is saved, and that a resumed run ends as an unbroken one."""

import gc
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.registry import METRICS

from amt_mm.engine import OverlayRunner
from amt_mm.errors import TrainingStopped
from amt_mm.guidance import SaliencyUpdateHook, refresh
from amt_mm.models import AMTMAE
from amt_mm.reliability import StopSignalHook, worker_signals


class Tell(Hook):
    """Send this process a signal at a moment of training."""

    priority = 'VERY_HIGH'

    def __init__(self, moment, iteration, number=signal.SIGTERM):
        self.moment, self.iteration, self.number = moment, iteration, number
        setattr(self, moment, self.tell)

    def tell(self, runner, *args, **kwargs):
        if runner.iter == self.iteration:
            os.kill(os.getpid(), self.number)


@pytest.fixture(autouse=True)
def handlers():
    """Those of pytest, whatever a test leaves."""
    before = {number: signal.getsignal(number)
              for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)}
    yield before
    for number, handler in before.items():
        signal.signal(number, handler)
    # A stopped run goes on shielding what is forked, since its process is about to end.
    worker_signals.shield_forked(False)


@pytest.fixture
def guided(toy_runner):
    """The factory of guided runs of 3 epochs of 3 steps; refreshes before epochs 2 and 3."""
    def make(work_dir='run', hooks=(), checkpoint=(), **changes):
        return toy_runner(
            work_dir, **{'epochs': 3, 'kind': OverlayRunner, **changes},
            hooks=[SaliencyUpdateHook(1, 1, batch_size=2), *hooks],
            default_hooks=dict(logger=None, checkpoint=dict(
                type='CheckpointHook', **{'interval': 1, **dict(checkpoint)})))
    return make


def names(runner):
    return sorted(path.name for path in Path(runner.work_dir).glob('*.pth'))


def stopped(runner, status=75):
    with pytest.raises(TrainingStopped) as caught:
        runner.train()
    assert caught.value.code == status
    return str(caught.value)


def meta(runner, name):
    found = torch.load(Path(runner.work_dir, name), weights_only=False)['meta']
    return found['epoch'], found['iter']


@pytest.mark.slow
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize(('moment', 'iteration', 'expected', 'saved'), [
    ('before_train_iter', 4, 'iter_5.pth', (1, 5)),  # within a step: that one is finished
    ('before_train_iter', 0, 'iter_1.pth', (0, 1)),
    ('before_train_iter', 5, 'epoch_2.pth', (2, 6)),  # the last step of an epoch
    ('before_train_epoch', 3, 'epoch_1.pth', (1, 3)),  # before a refresh, which is given up
    ('before_save_checkpoint', 3, 'epoch_1.pth', (1, 3)),
    ('before_train_epoch', 0, 'iter_1.pth', (0, 1))])
def test_it_saves_after_the_step_at_hand(guided, moment, iteration, expected, saved, number):
    runner = guided(hooks=[Tell(moment, iteration, number)])
    message = stopped(runner)
    assert signal.Signals(number).name in message and f'{expected}; continue with' in message
    assert f'after iteration {saved[1]}' in message
    assert meta(runner, expected) == saved and runner.iter <= saved[1]
    before = [f'epoch_{epoch}.pth' for epoch in range(1, saved[0] + 1)]
    assert names(runner) == sorted({*before, expected})
    assert Path(runner.work_dir, 'last_checkpoint').read_text().endswith(expected)
    resumed = guided(resume=True)
    resumed.load_or_resume()
    assert (resumed.epoch, resumed.iter) == saved


@pytest.mark.slow
@pytest.mark.parametrize('iteration', [1, 3, 4, 5, 6])
def test_stopped_and_resumed_it_ends_as_an_unbroken_run(guided, iteration):
    whole = guided('whole')
    whole.train()
    moment = 'before_train_epoch' if iteration % 3 == 0 else 'before_train_iter'
    stopped(guided(hooks=[Tell(moment, iteration)]))
    guided(resume=True).train()
    ends = [torch.load(Path(whole.work_dir).parent / folder / 'epoch_3.pth',
                       weights_only=False)['state_dict'] for folder in ('whole', 'run')]
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


@pytest.fixture
def cut_refresh(monkeypatch):
    """The factory ``cut_refresh(batch)``: a signal in that batch of refreshes, counted from 1.

    It returns the list of batches so far.
    """
    def cut(batch):
        looked, of_batch = [], refresh.Refresh.of_batch

        def watch(self, *args, **kwargs):
            looked.append(1)
            if len(looked) == batch:
                os.kill(os.getpid(), signal.SIGTERM)
            return of_batch(self, *args, **kwargs)

        monkeypatch.setattr(refresh.Refresh, 'of_batch', watch)
        return looked
    return cut


@pytest.mark.slow
# Of the refreshes before the third step and before the fourth, which begins a new pass.
@pytest.mark.parametrize('batch', [2, 6])
def test_a_refresh_cut_between_iterations_costs_no_batch(toy_runner, cut_refresh, batch):
    def make(work_dir, **changes):
        return toy_runner(
            work_dir, hooks=[SaliencyUpdateHook(2, 1, by_epoch=False, batch_size=2)],
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=6), **changes,
            default_hooks=dict(logger=None, checkpoint=dict(
                type='CheckpointHook', interval=6, by_epoch=False)))

    whole = make('whole')
    whole.train()
    cut_refresh(batch)
    stopped(make('run'))
    make('run', resume=True).train()
    ends = [torch.load(Path(whole.work_dir).parent / folder / 'iter_6.pth',
                       weights_only=False)['state_dict'] for folder in ('whole', 'run')]
    assert all(torch.equal(ends[0][key], ends[1][key]) for key in ends[0])


def test_a_refresh_is_given_up_between_two_batches(guided, cut_refresh):
    looked = cut_refresh(2)
    runner = guided(checkpoint=dict(interval=5))  # nothing was saved before
    assert 'after iteration 3, saved in' in stopped(runner)
    assert len(looked) == 2 and names(runner) == ['epoch_1.pth']
    assert meta(runner, 'epoch_1.pth') == (1, 3)
    assert not (Path(runner.work_dir) / 'saliency/epoch_1.amtmap').exists()


def test_a_run_stopped_in_its_first_refresh_is_resumed(toy_runner, cut_refresh, checkpoint):
    def make(file, **changes):
        return toy_runner(hooks=[SaliencyUpdateHook(0, 1), dict(
            type='amt_mm.PretrainedBackboneHook', checkpoint=str(file))], epochs=1, **changes)

    cut_refresh(2)
    assert 'after iteration 0' in stopped(make(checkpoint))
    make('gone.pth', resume=True).train()


def test_signals_while_it_saves_change_nothing(guided):
    class Again(Hook):
        def before_save_checkpoint(self, runner, checkpoint):
            for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGTERM):
                os.kill(os.getpid(), number)

    runner = guided(hooks=[Tell('before_train_iter', 1), Again()])
    stopped(runner)
    assert meta(runner, 'iter_2.pth') == (0, 2)


def test_with_a_limit_the_extra_one_goes_when_the_next_is_there(guided):
    limit = dict(max_keep_ckpts=1)
    runner = guided(hooks=[Tell('before_train_iter', 3)], checkpoint=limit)
    stopped(runner)
    assert names(runner) == ['epoch_1.pth', 'iter_4.pth']
    resumed = guided(checkpoint=limit, resume=True)
    resumed.load_or_resume()
    assert resumed.iter == 4
    hook, = (hook for hook in resumed.hooks if isinstance(hook, CheckpointHook))
    hook.before_train(resumed)
    hook.save_between(resumed, 2, 6, inside=False)
    assert names(resumed) == ['epoch_2.pth']


def test_a_run_that_counts_iterations(guided, toy_runner):
    runner = toy_runner(
        kind=OverlayRunner, hooks=[Tell('before_train_iter', 3)],
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=6),
        loader=dict(sampler=dict(type='InfiniteSampler', shuffle=True)),
        default_hooks=dict(logger=None, checkpoint=dict(
            type='CheckpointHook', interval=3, by_epoch=False, max_keep_ckpts=1)))
    assert 'iter_4.pth' in stopped(runner)
    assert names(runner) == ['iter_4.pth'] and meta(runner, 'iter_4.pth') == (0, 4)


def test_accumulated_gradients_are_used_first(guided):
    runner = guided(hooks=[Tell('before_train_iter', 0)], loader=dict(batch_size=1),
                    optim_wrapper=dict(type='OptimWrapper', accumulative_counts=3,
                                       optimizer=dict(type='SGD', lr=.1)))
    stopped(runner)
    assert names(runner) == ['iter_3.pth']


def test_after_the_last_step_nothing_is_left_to_stop(guided):
    runner = guided(hooks=[Tell('before_train_iter', 8)])
    runner.train()
    assert names(runner)[-1] == 'epoch_3.pth' and runner.epoch == 3


@pytest.fixture
def validated(toy_images, monkeypatch):
    """Settings of a validation of 4 batches that measures nothing."""
    @METRICS.register_module(force=True)
    class Nothing(BaseMetric):
        def process(self, data_batch, data_samples):
            self.results.append(0)

        def compute_metrics(self, results):
            return dict(accuracy=.5)

    monkeypatch.setattr(AMTMAE, 'val_step', lambda self, data: [0], raising=False)
    yield dict(val_cfg=dict(), val_evaluator=dict(type='Nothing'), val_dataloader=dict(
        batch_size=1, num_workers=0, dataset=toy_images(4),
        sampler=dict(type='DefaultSampler', shuffle=False),
        collate_fn=dict(type='default_collate')))
    METRICS.module_dict.pop('Nothing')


@pytest.mark.parametrize('ema', [False, True])
def test_a_validation_is_given_up_and_the_trained_weights_are_saved(guided, validated, ema):
    seen = []

    class Count(Hook):
        def after_val_iter(self, runner, **kwargs):
            seen.append(runner.iter)

    def hooks(*more):
        return [*more, *([EMAHook(momentum=.5)] if ema else [])]

    whole = guided('whole', epochs=2, hooks=hooks(), **validated)
    whole.train()
    runner = guided(hooks=hooks(Tell('before_val_iter', 3), Count()), epochs=2,
                    checkpoint=dict(interval=9), **validated)
    assert 'after iteration 3, saved in' in stopped(runner)
    assert len(seen) == 1 and names(runner) == ['epoch_1.pth']
    saved, right = (torch.load(Path(run.work_dir, 'epoch_1.pth'), weights_only=False)
                    for run in (runner, whole))
    for part in ('state_dict', *(['ema_state_dict'] if ema else [])):
        assert all(torch.equal(saved[part][key], right[part][key]) for key in right[part])


def test_what_signals_did_before_is_restored(guided, handlers):
    def restored():
        return all(signal.getsignal(number) == before for number, before in handlers.items())

    class Look(Hook):
        def before_train_iter(self, runner, **kwargs):
            assert not restored()

    guided(epochs=1, hooks=[Look()]).train()
    assert restored()

    class Fail(Hook):
        def before_train_iter(self, runner, **kwargs):
            raise KeyError('a fault')

    with pytest.raises(KeyError):
        guided(epochs=1, hooks=[Fail()]).train()
    assert restored()


def test_other_threads_train_without_it(guided):
    runner, failed = guided(epochs=1), []

    def train():
        try:
            runner.train()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    assert not failed and names(runner) == ['epoch_1.pth']


def test_without_a_checkpoint_hook_it_says_that_nothing_was_saved(toy_runner):
    runner = toy_runner(kind=OverlayRunner, hooks=[Tell('before_train_iter', 1)],
                        default_hooks=dict(logger=None, checkpoint=None))
    with pytest.raises(TrainingStopped, match='nothing was saved') as caught:
        runner.train()
    assert caught.value.code == 143


def test_ctrl_c_saves_and_says_so_at_once(guided, capfd):
    class Hear(Hook):
        def after_train_iter(self, runner, **kwargs):
            if runner.iter == 4:
                assert 'interrupt again to end at once' in capfd.readouterr().err

    runner = guided(hooks=[Tell('before_train_iter', 4, signal.SIGINT), Hear()])
    assert 'stopped by SIGINT after iteration 5' in stopped(runner, status=130)
    assert meta(runner, 'iter_5.pth') == (1, 5)
    # Whoever stops it otherwise, a person has told it, too.
    runner = guided('both', hooks=[Tell('before_train_iter', 4), Tell('after_train_iter', 4,
                                                                     signal.SIGINT)])
    assert 'iter_5.pth' in stopped(runner, status=130)


def test_a_second_ctrl_c_ends_at_once(guided):
    class Twice(Hook):
        def before_train_iter(self, runner, **kwargs):
            for _ in range(2 * (runner.iter == 4)):
                os.kill(os.getpid(), signal.SIGINT)

    runner = guided(hooks=[Twice()])
    child = os.fork()
    if child == 0:
        try:
            runner.train()
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGINT
    assert names(runner) == ['epoch_1.pth']


def test_a_run_in_the_background_does_not_hear_ctrl_c(guided):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell starts it there
    runner = guided(epochs=1, hooks=[Tell('before_train_iter', 1, signal.SIGINT)])
    runner.train()
    assert names(runner) == ['epoch_1.pth']


@pytest.mark.slow
@pytest.mark.parametrize('persistent', [False, True])
@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
def test_loading_processes_outlive_the_signal_and_end_with_training(guided, number, persistent):
    """As Slurm does it: every process of the job is told, by someone else."""
    # Loaders of earlier tests may not have been collected yet.
    others, workers = set(multiprocessing.active_children()), []

    class TellAll(Hook):
        def before_train_iter(self, runner, **kwargs):
            if runner.iter != 3:
                return
            own = os.getpid()
            workers.extend(set(multiprocessing.active_children()) - others)
            slurm = os.fork()
            if slurm == 0:
                for process in (*(worker.pid for worker in workers), own):
                    os.kill(process, number)
                os._exit(0)
            os.waitpid(slurm, 0)
            time.sleep(.1)

    class Watch(Hook):
        priority = 'VERY_LOW'

        def after_train_iter(self, runner, **kwargs):
            if runner.iter == 3:
                assert all(worker.is_alive() for worker in workers)

    runner = guided(hooks=[TellAll(), Watch()], epochs=4, loader=dict(
        num_workers=2, persistent_workers=persistent))
    status = 130 if number == signal.SIGINT else 75
    assert 'after iteration 4' in stopped(runner, status) and len(workers) >= 2
    if persistent:
        runner.train_dataloader._iterator._shutdown_workers()
    del runner
    gc.collect()
    # Asked, or told by their parent; what the other's signal ends has another status.
    assert [worker.exitcode for worker in workers] == [0] * len(workers)


@pytest.mark.parametrize('own', [True, False])
def test_a_loading_process_ends_for_its_parent_at_once_and_for_others_in_time(monkeypatch, own):
    monkeypatch.setattr(worker_signals, 'GRACE', .3)
    monkeypatch.setattr(worker_signals, '_shielding', True)
    worker = os.fork()
    if worker == 0:
        while True:
            time.sleep(.01)
    time.sleep(.2)
    os.kill(worker, signal.SIGUSR1)
    start = time.monotonic()
    if own:
        os.kill(worker, signal.SIGTERM)
    elif os.fork() == 0:
        os.kill(worker, signal.SIGTERM)
        os._exit(0)
    status = os.waitpid(worker, 0)[1]
    assert os.waitstatus_to_exitcode(status) == (0 if own else 143)
    assert (time.monotonic() - start < .25) is own
    if not own:
        os.wait()


def test_it_is_in_every_run(toy_runner):
    runner = toy_runner(kind=OverlayRunner)
    assert sum(isinstance(hook, StopSignalHook) for hook in runner.hooks) == 1
