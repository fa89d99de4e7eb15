"""NanGuardHook: when it stops, what it leaves out, and what it never touches."""

from pathlib import Path

import numpy as np
import pytest
import torch
from forked_group import in_two_processes
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.visualization import Visualizer
from mmpretrain.registry import OPTIM_WRAPPERS

from amt_mm.engine.runner import OverlayRunner
from amt_mm.errors import InputError
from amt_mm.reliability import NanGuardHook
from amt_mm.reliability.step_record import read_step, samples_of

BAD = 3


class Watch(Hook):
    """Weights and optimiser state before and after each iteration; what spoils some."""

    priority = 'HIGHEST'

    def __init__(self, spoil=None, at=()):
        self.spoil, self.at = spoil, at
        self.before, self.after = [], []

    @staticmethod
    def state(runner):
        weights = {name: value.clone() for name, value in runner.model.state_dict().items()}
        moments = {
            (number, name): value.clone() if isinstance(value, torch.Tensor) else value
            for number, entry in enumerate(runner.optim_wrapper.optimizer.state.values())
            for name, value in entry.items()}
        return weights, moments

    def before_train(self, runner):
        def spoil(gradient):
            return self.spoil(gradient) if runner.iter in self.at else gradient

        if self.spoil:
            runner.model.neck.decoder_pred.bias.register_hook(spoil)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.before.append(self.state(runner))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.after.append(self.state(runner))


def same(first, second):
    return all(one.keys() == other.keys() and all(
        torch.equal(one[key], other[key]) if isinstance(one[key], torch.Tensor)
        else one[key] == other[key] for key in one) for one, other in zip(
            first, second, strict=True))


@pytest.fixture
def images(toy_images):
    """Seven samples of floats; one holds a single pixel that is none."""
    images = [image.astype(np.float32) for image in toy_images(7).images]
    images[BAD][:] = np.nan
    return images


@pytest.fixture
def train(toy_runner, toy_images):
    """Train on good or bad images with the guard; return runner, watch and what stopped it."""

    def run(images=7, skip=0, spoil=None, at=(), hooks_before=(), **settings):
        watch = Watch(spoil, at)
        runner = toy_runner(hooks=[*hooks_before, watch, NanGuardHook(skip)],
                            **{'dataset': toy_images(images), 'epochs': 2, **settings})
        runner.watch = watch
        runner.stopped = None
        try:
            runner.train()
        except InputError as error:
            runner.stopped = str(error)
        return runner

    return run


def files(runner):
    return sorted(path.name for path in (Path(runner.work_dir) / 'nonfinite').glob('*'))


def hit(runner):
    """The iteration that met the bad sample first, from 0."""
    return next(i for i, step in enumerate(runner.recorder.steps) if BAD in step['sample_idx'])


def guard(runner):
    return next(hook for hook in runner.hooks if isinstance(hook, NanGuardHook))


def test_it_is_in_every_run_of_ours(toy_runner):
    assert any(isinstance(hook, NanGuardHook) for hook in toy_runner(kind=OverlayRunner).hooks)


def test_a_loss_that_is_not_finite_stops_before_the_step(train, images):
    runner = train(images)
    steps = runner.recorder.steps
    assert len(steps) == hit(runner) + 1
    assert f'iteration {len(steps)}: loss is not finite' in runner.stopped
    assert 'stopped before this step' in runner.stopped and '\n' not in runner.stopped
    assert files(runner) == [f'iter_{len(steps)}_rank0.pt']
    assert f'nonfinite/iter_{len(steps)}_rank0.pt' in runner.stopped
    assert same(runner.watch.before[-1], Watch.state(runner))


def test_the_file_holds_what_the_step_was_given(train, images):
    runner = train(images)
    step = runner.recorder.steps[-1]
    content = read_step(Path(runner.work_dir) / 'nonfinite' / files(runner)[0])
    batch, = content['batches']
    samples = samples_of(batch.data)
    assert [sample['sample_idx'] for sample in samples] == step['sample_idx']
    assert [sample['crop_box'] for sample in samples] == step['crop_box']
    assert torch.equal(batch.plan.masked, step['masked'])
    assert batch.plan.grid == (5, 7)
    assert batch.data['inputs'].shape == (len(step['sample_idx']), 3, 40, 56)
    assert [s.sample_idx for s in batch.data['data_samples']] == step['sample_idx']
    assert torch.isnan(batch.losses['loss'])
    assert same([content['state_dict']], [runner.watch.before[-1][0]])
    assert content['iteration'] == len(runner.recorder.steps) and content['rank'] == 0


def infinite(gradient):
    return gradient * float('inf')


@pytest.mark.parametrize('factor', [float('inf'), float('nan')])
@pytest.mark.parametrize('clip', [None, dict(max_norm=1.0), dict(type='value', clip_value=0.1)],
                         ids=['no clipping', 'norm', 'value'])
def test_a_gradient_is_seen_before_clipping_hides_or_spreads_it(train, clip, factor):
    runner = train(spoil=lambda gradient: gradient * factor, at=[2], optim_wrapper=dict(
        type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3), clip_grad=clip))
    assert 'the losses are finite' in runner.stopped
    assert 'of 1 parameters is not (neck.decoder_pred.bias)' in runner.stopped
    assert len(runner.recorder.steps) == 3
    assert same(runner.watch.before[-1], Watch.state(runner))


def test_a_large_finite_gradient_is_none_of_its_business(train):
    """Its square overflows."""
    runner = train(spoil=lambda gradient: torch.full_like(gradient, 1e30), at=[2])
    assert runner.stopped is None and files(runner) == []


def test_a_run_without_faults_is_the_same_with_the_hook(train, toy_runner, toy_images):
    settings = dict(epochs=2, optim_wrapper=dict(
        type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3), accumulative_counts=2,
        clip_grad=dict(max_norm=0.1)))
    guarded = train(work_dir='guarded', **settings)
    plain = toy_runner(work_dir='plain', dataset=toy_images(7), **settings)
    plain.train()
    assert same([guarded.model.state_dict()], [plain.model.state_dict()])
    assert guard(guarded)._recorder is None


OPTIMIZERS = {
    'adamw': dict(type='AdamW', lr=1e-2), 'fused': dict(type='AdamW', lr=1e-2, fused=True),
    'sgd': dict(type='SGD', lr=1e-2, momentum=0.9, weight_decay=0.1),
    'lars': dict(type='LARS', lr=1e-1, momentum=0.9, weight_decay=0.1)}


@pytest.mark.parametrize('optimizer', OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_a_step_left_out_touches_nothing_and_the_next_one_does(train, optimizer):
    runner = train(spoil=infinite, at=[1], skip=1, optim_wrapper=dict(
        type='OptimWrapper', optimizer=optimizer))
    assert runner.stopped is None
    watch = runner.watch
    for number, (before, after) in enumerate(zip(watch.before, watch.after, strict=True)):
        assert same(before, after) == (number == 1), number


class Means(Hook):
    """Running means in the model, such as those of batch normalisation."""

    def before_run(self, runner):
        runner.model.means = torch.nn.BatchNorm2d(3, affine=False)
        runner.model.register_forward_pre_hook(self.move, with_kwargs=True)

    def move(self, model, args, kwargs):
        model.means(args[0] if args else kwargs['inputs'])


def in_cycles(counts):
    return dict(hooks_before=[Means()], optim_wrapper=dict(
        type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3), accumulative_counts=counts))


@pytest.mark.parametrize('counts', [1, 2])
def test_what_a_forward_pass_moves_is_put_back(train, images, counts):
    """One NaN in a running mean would spoil all that follows."""
    stopped = train(images, **in_cycles(counts))
    content = read_step(Path(stopped.work_dir) / 'nonfinite' / files(stopped)[0])
    assert all(value.isfinite().all() for value in content['state_dict'].values())
    runner = train(images, work_dir='skip', skip=9, **in_cycles(counts))
    assert runner.stopped is None and 0 < guard(runner).skipped < 6 / counts
    assert runner.model.means.running_mean.isfinite().all()
    begin = hit(runner) // counts * counts
    last = min(begin + counts, len(runner.watch.after)) - 1
    assert same(runner.watch.before[begin], runner.watch.after[last])


def test_it_is_put_back_in_a_run_resumed_within_the_cycle_too(train, images):
    whole = train(images, skip=9, epochs=3, **in_cycles(4))
    assert whole.stopped is None and guard(whole).skipped
    # Iteration 3 of a cycle of 4: its NaN lies in the checkpoint.
    resumed = train(images, work_dir='resumed', skip=9, epochs=3, resume=True,
                    load_from=f'{whole.work_dir}/epoch_1.pth', **in_cycles(4))
    assert resumed.stopped is None and guard(resumed).skipped == guard(whole).skipped
    assert same([whole.model.state_dict()], [resumed.model.state_dict()])
    assert whole.model.means.running_mean.isfinite().all()


def test_it_counts_and_stops_past_the_limit(train, images, monkeypatch):
    drawn = []
    monkeypatch.setattr(Visualizer, 'add_scalars',
                        lambda self, scalars, step: drawn.append((scalars, step)))
    runner = train(images, skip=2, epochs=4)
    assert guard(runner).skipped == 2
    assert 'after 2 that were skipped' in runner.stopped
    met = [i + 1 for i, step in enumerate(runner.recorder.steps) if BAD in step['sample_idx']]
    assert len(met) == 3
    # The first, and the one that stopped the run.
    assert files(runner) == sorted(f'iter_{met[i]}_rank0.pt' for i in (0, 2))
    drawn = [each for each in drawn if 'nonfinite/skipped' in each[0]]
    assert drawn == [({'nonfinite/skipped': 1}, met[0]), ({'nonfinite/skipped': 2}, met[1])]


def test_schedules_go_on_counting(train, images):
    scheduler = [dict(type='LinearLR', start_factor=0.5, end=6, by_epoch=False)]
    runner = train(images, skip=9, param_scheduler=scheduler)
    assert runner.stopped is None
    assert runner.optim_wrapper.get_lr()['lr'] == [pytest.approx(1e-3)]


def test_a_resumed_run_goes_on_with_the_count(train, images):
    assert guard(train(images, skip=2, epochs=2)).skipped == 2
    runner = train(images, skip=2, epochs=4, resume=True)
    assert 'after 2 that were skipped' in runner.stopped
    again = train(images, work_dir='again', skip=2, epochs=2,
                  load_from=str(Path(runner.work_dir) / 'epoch_2.pth'))
    assert again.stopped is None and guard(again).skipped == 2


def test_accumulation_names_the_batch_and_leaves_out_the_whole_step(train, images):
    settings = dict(epochs=2, optim_wrapper=dict(
        type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3), accumulative_counts=2))
    runner = train(images, **settings)
    first = hit(runner)
    assert len(runner.recorder.steps) == first + 1 + (first + 1) % 2
    assert f'loss of batch {first % 2 + 1} of 2 is not finite' in runner.stopped
    content = read_step(Path(runner.work_dir) / 'nonfinite' / files(runner)[0])
    assert [[s['sample_idx'] for s in samples_of(batch.data)] for batch in content['batches']] == [
        step['sample_idx'] for step in runner.recorder.steps[-2:]]
    skipping = train(images, work_dir='skip', skip=2, **settings)
    watch, last = skipping.watch, first // 2 * 2 + 1
    assert skipping.stopped is None and same(watch.before[last - 1], watch.after[last])


@pytest.fixture
def scaled():
    """Dynamic loss scaling as on a GPU, which mmengine's wrapper refuses here."""

    @OPTIM_WRAPPERS.register_module(name='ScaledOnCPU', force=True)
    class ScaledOnCPU(OptimWrapper):

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.loss_scaler = torch.amp.GradScaler('cpu', init_scale=4.0)

        def backward(self, loss, **kwargs):
            self.loss_scaler.scale(loss).backward(**kwargs)
            self._inner_count += 1

        def step(self, **kwargs):
            if self.clip_grad_kwargs:
                self.loss_scaler.unscale_(self.optimizer)
                self._clip_grad()
            self.loss_scaler.step(self.optimizer, **kwargs)
            self.loss_scaler.update()

    yield lambda clip=None, fused=False: dict(optim_wrapper=dict(
        type='ScaledOnCPU', optimizer=dict(type='AdamW', lr=1e-3, fused=fused), clip_grad=clip))
    OPTIM_WRAPPERS.module_dict.pop('ScaledOnCPU')


@pytest.mark.parametrize('fused', [False, True])
@pytest.mark.parametrize('clip', [None, dict(max_norm=1.0)], ids=['', 'clip'])
def test_overflows_are_the_scalers(train, scaled, clip, fused):
    runner = train(spoil=infinite, at=[1, 2, 4], **scaled(clip, fused))
    assert runner.stopped is None and files(runner) == []
    moved = [not same(b[:1], a[:1]) for b, a in zip(
        runner.watch.before, runner.watch.after, strict=True)]
    assert moved == [True, False, False, True, False, True]


def test_a_loss_that_is_not_finite_is_not_the_scalers(train, scaled, images):
    runner = train(images, **scaled())
    assert 'loss is not finite' in runner.stopped
    assert len(runner.recorder.steps) == hit(runner) + 1


def test_endless_overflows_stop(train, scaled, monkeypatch):
    monkeypatch.setattr('amt_mm.reliability.nan_guard_hook._MAX_OVERFLOWS', 3)
    runner = train(spoil=infinite, at=range(1, 9), epochs=3, **scaled())
    assert 'overflowed 4 times in a row' in runner.stopped
    assert len(runner.recorder.steps) == 5


def test_a_full_disk_does_not_hide_the_fault(train, images, monkeypatch):
    def full(*args):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('amt_mm.reliability.step_record.torch.save', full)
    runner = train(images)
    assert 'loss is not finite' in runner.stopped and 'No space left' in runner.stopped


def test_skip_must_be_a_number_of_steps():
    with pytest.raises(InputError, match='skip=-1'):
        NanGuardHook(-1)


def test_two_processes_stop_together_and_the_right_one_writes(tmp_path, toy_runner, toy_images):
    """The images of the second process alone are no numbers."""
    def train(rank):
        images = [image.astype(np.float32) * (np.nan if rank else 1)
                  for image in toy_images(7).images]
        runner = toy_runner(
            kind=OverlayRunner, launcher='pytorch', dataset=toy_images(images),
            cfg=Config(dict(launcher='pytorch', model_wrapper_cfg=dict(
                type='MMDistributedDataParallel', device_ids=None))),
            # It would see that the images differ.
            default_hooks=dict(logger=None, ranks_agree=None))
        with pytest.raises(InputError) as stopped:
            runner.train()
        return str(stopped.value), len(runner.recorder.steps), digest(runner)

    def digest(runner):
        weights = runner.model.module.state_dict()
        return [float(value.double().sum()) for value in weights.values()]

    (said, *rest), other = in_two_processes(train, tmp_path)
    assert [said, *rest] == list(other)
    assert 'iteration 1: loss is not finite on rank 1 of 2' in said and rest[0] == 1
    written = tmp_path / 'run' / 'nonfinite'
    assert [path.name for path in written.iterdir()] == ['iter_1_rank1.pt']
    assert str(written / 'iter_1_rank1.pt') in said
