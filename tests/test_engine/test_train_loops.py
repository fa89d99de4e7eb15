"""A run resumed at any iteration equals the unbroken one, bit for bit."""

import copy
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.dataset import DefaultSampler
from mmengine.hooks import Hook
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from torch.utils.data import DataLoader, Sampler
from torchrun import in_two_real_processes

from amt_mm.datasets import StagedDataset
from amt_mm.engine import ResumableEpochLoop, ResumableIterLoop
from amt_mm.engine.train_loops import resumable_loop, seeded_loader
from amt_mm.errors import InputError
from amt_mm.guidance import SaliencyUpdateHook

ENDLESS = dict(type='InfiniteSampler', shuffle=True)
BY_ITER = dict(type='CheckpointHook', interval=1, by_epoch=False)
SCHEDULERS = [dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=5),
              dict(type='StepLR', step_size=1, gamma=0.7, by_epoch=True)]


class Streams(Hook):
    """The random states that each step leaves."""

    priority = 'LOWEST'

    def __init__(self):
        self.left = {}

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.left[runner.iter] = (batch_idx, random.getstate(), np.random.get_state()[1].tolist(),
                                  torch.get_rng_state().tolist())


def train(toy_runner, work_dir, hooks=(), **changes):
    """Train with a refresh before epochs 1 and 2 (or so), and a checkpoint after each step."""
    streams = Streams()
    hooks = hooks or [SaliencyUpdateHook(1, 1)]
    runner = toy_runner(work_dir, [streams, *hooks], **{
        'default_hooks': dict(logger=None, checkpoint=BY_ITER), 'epochs': 3,
        'param_scheduler': copy.deepcopy(SCHEDULERS), **changes})
    runner.streams = streams
    runner.train()
    return runner


def resume(toy_runner, whole, name, work_dir='resumed', **changes):
    return train(toy_runner, work_dir, resume=True, load_from=f'{whole.work_dir}/{name}.pth',
                 **changes)


def same(found, wanted):
    if isinstance(wanted, torch.Tensor):
        return torch.equal(found, wanted)
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(same(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, (list, tuple)):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    return found == wanted


def check_same(found, wanted, steps):
    """All that training leaves behind, and all that went into the resumed steps."""
    assert same(found.model.state_dict(), wanted.model.state_dict())
    assert same(found.optim_wrapper.state_dict(), wanted.optim_wrapper.state_dict())
    assert same([each.state_dict() for each in found.param_schedulers],
                [each.state_dict() for each in wanted.param_schedulers])
    assert (found.epoch, found.iter) == (wanted.epoch, wanted.iter)
    assert len(found.recorder.steps) == steps
    by_iter = {step['iter']: step for step in wanted.recorder.steps}
    for step in found.recorder.steps:
        assert same(step, by_iter[step['iter']]), step['iter']
    for iteration, left in found.streams.left.items():
        assert left == wanted.streams.left[iteration], iteration
    for path in (Path(found.work_dir) / 'saliency').glob('*'):
        assert path.read_bytes() == (Path(wanted.work_dir) / 'saliency' / path.name).read_bytes()


@pytest.fixture(params=[
    dict(num_workers=0), dict(num_workers=2, persistent_workers=True),
    dict(num_workers=2, persistent_workers=False)], ids=['0', 'persistent', '2'])
def loader(request):
    return request.param


@pytest.mark.slow
def test_resumed_at_every_iteration_of_epochs(toy_runner):
    whole = train(toy_runner, 'whole')
    assert [step['map_step'] for step in whole.recorder.steps] == [None] * 3 + [1] * 3 + [2] * 3
    for done in range(1, 9):
        check_same(resume(toy_runner, whole, f'iter_{done}', f'from{done}'), whole, 9 - done)


@pytest.mark.slow
@pytest.mark.parametrize('done', [1, 5])
def test_workers_change_nothing(toy_runner, loader, done):
    """Neither an unbroken run nor a resumed one, of any kind of workers."""
    whole = train(toy_runner, 'whole')
    check_same(train(toy_runner, 'workers', loader=loader), whole, 9)
    check_same(resume(toy_runner, whole, f'iter_{done}', loader=loader), whole, 9 - done)


@pytest.mark.slow
@pytest.mark.parametrize(('size', 'dropped', 'batches'), [(3, True, 2), (2, False, 4), (7, True, 1),
                                                          (9, False, 1)])
def test_last_batches_kept_and_dropped(toy_runner, size, dropped, batches):
    changes = dict(loader=dict(batch_size=size, drop_last=dropped))
    whole = train(toy_runner, 'whole', **changes)
    for done in {batches - 1, batches, batches + 1} - {0}:
        resumed = resume(toy_runner, whole, f'iter_{done}', f'from{done}', **changes)
        check_same(resumed, whole, 3 * batches - done)


@pytest.mark.slow
@pytest.mark.parametrize('sampler', [ENDLESS, dict(type='DefaultSampler', shuffle=True)],
                         ids=['endless', 'ending'])
def test_resumed_at_every_iteration_without_epochs(toy_runner, sampler):
    changes = dict(
        loader=dict(sampler=sampler), train_cfg=dict(type='IterBasedTrainLoop', max_iters=8),
        param_scheduler=SCHEDULERS[:1])

    def hooks():
        return [SaliencyUpdateHook(2, 3, by_epoch=False)]

    whole = train(toy_runner, 'whole', hooks(), **changes)
    assert [step['map_step'] for step in whole.recorder.steps] == [None] * 2 + [2] * 3 + [5] * 3
    orders = [sum((step['sample_idx'] for step in whole.recorder.steps[i:i + 2]), [])
              for i in (0, 3)]
    assert orders[0] != orders[1], 'the second pass has an order of its own'
    for done in range(1, 8):
        resumed = resume(toy_runner, whole, f'iter_{done}', f'from{done}', hooks=hooks(), **changes)
        check_same(resumed, whole, 8 - done)


@pytest.mark.slow
def test_workers_change_nothing_without_epochs(toy_runner, loader):
    changes = dict(loader=dict(loader, sampler=ENDLESS), param_scheduler=SCHEDULERS[:1],
                   train_cfg=dict(by_epoch=False, max_iters=6), hooks=[Streams()])
    whole = train(toy_runner, 'whole', **dict(changes, loader=dict(sampler=ENDLESS)))
    check_same(train(toy_runner, 'workers', **changes), whole, 6)
    check_same(resume(toy_runner, whole, 'iter_2', **changes), whole, 4)


@pytest.mark.slow
def test_staged_samples_are_seeded_by_the_batch(toy_runner, toy_images, loader):
    def run(work_dir, **changes):
        return train(toy_runner, work_dir, dataset=StagedDataset(toy_images(7)), **changes)

    whole = run('whole')
    resumed = run('resumed', resume=True, load_from=f'{whole.work_dir}/iter_4.pth', loader=loader)
    check_same(resumed, whole, 5)
    boxes = [box for step in whole.recorder.steps for box in step['crop_box']]
    assert len(set(boxes)) == 21


class Pairs(Sampler):
    """Batches whose number of samples their sampler alone knows: 1, 2, 1, 2, ..."""

    def __init__(self, sampler, batch_size):
        self.sampler = sampler

    def __len__(self):
        return 5

    def __iter__(self):
        indices = iter(self.sampler)
        for size in (1, 2, 1, 2, 1):
            yield [next(indices) for _ in range(size)]


@pytest.mark.slow
def test_a_batch_sampler_of_the_config_goes_on_too(toy_runner):
    DATA_SAMPLERS.register_module(module=Pairs, force=True)
    changes = dict(loader=dict(batch_sampler=dict(type='Pairs')), epochs=2, hooks=[Streams()])
    whole = train(toy_runner, 'whole', **changes)
    assert [len(step['sample_idx']) for step in whole.recorder.steps] == [1, 2, 1, 2, 1] * 2
    for done in (3, 5, 6):
        resumed = resume(toy_runner, whole, f'iter_{done}', f'from{done}', **changes)
        check_same(resumed, whole, 10 - done)


@pytest.mark.slow
def test_checkpoints_of_both_kinds_in_one_run(toy_runner):
    changes = dict(default_hooks=dict(
        logger=None, checkpoint=dict(type='CheckpointHook', interval=1)))

    def hooks():
        return [SaliencyUpdateHook(1, 1), dict(BY_ITER, interval=2)]

    whole = train(toy_runner, 'whole', hooks(), **changes)
    for name, done in (('epoch_1', 3), ('epoch_2', 6), ('iter_4', 4)):
        check_same(resume(toy_runner, whole, name, name, hooks=hooks(), **changes), whole, 9 - done)


@pytest.mark.slow
@pytest.mark.parametrize('done', [1, 4])
def test_a_run_without_a_seed_keeps_the_one_it_drew(toy_runner, done):
    whole = train(toy_runner, 'whole', seed=None)
    resumed = resume(toy_runner, whole, f'iter_{done}', seed=None)
    assert resumed.seed == whole.seed
    check_same(resumed, whole, 9 - done)


@pytest.mark.parametrize(('loader', 'said'), [
    (dict(batch_size=2), 'batches was 3 and is 4, batch size was 3 and is 2'),
    (dict(drop_last=True), 'batches was 3 and is 2')])
def test_within_an_epoch_other_batches_are_refused(toy_runner, loader, said):
    whole = train(toy_runner, 'whole', [Streams()])
    with pytest.raises(InputError, match=f'after batch 1 of a pass over the data, and {said}: '
                                         'resume it as it was'):
        resume(toy_runner, whole, 'iter_4', hooks=[Streams()], loader=loader)


def test_from_an_epochs_end_other_batches_will_do(toy_runner):
    changes = dict(default_hooks=dict(
        logger=None, checkpoint=dict(type='CheckpointHook', interval=1)), hooks=[Streams()])
    whole = train(toy_runner, 'whole', **changes)
    resumed = resume(toy_runner, whole, 'epoch_2', loader=dict(batch_size=2), **changes)
    assert [step['epoch'] for step in resumed.recorder.steps] == [2] * 4
    # Its own checkpoints within and after an epoch know what they count from.
    again = train(toy_runner, 'again', resume=True, load_from=f'{resumed.work_dir}/epoch_3.pth',
                  loader=dict(batch_size=2), **{**changes, 'epochs': 4})
    assert [step['epoch'] for step in again.recorder.steps] == [3] * 4


def test_a_new_pass_on_wish_has_crops_of_its_own(toy_runner):
    changes = dict(loader=dict(sampler=ENDLESS), param_scheduler=None, hooks=[Streams()])
    loop = dict(type='IterBasedTrainLoop', max_iters=6)
    whole = train(toy_runner, 'whole', train_cfg=loop, **changes)
    resumed = resume(toy_runner, whole, 'iter_2', **dict(changes, loader=dict(
        sampler=ENDLESS, batch_size=2)), train_cfg=dict(loop, fast_forward_on_resume=True))
    first, anew = whole.recorder.steps[0], resumed.recorder.steps[0]
    assert anew['sample_idx'] == first['sample_idx'][:2]
    assert not set(anew['crop_box']) & set(first['crop_box'])


@pytest.mark.parametrize('name', ['iter_4', 'epoch_1'])
def test_a_checkpoint_that_says_no_position_is_read_by_its_counters(toy_runner, name):
    changes = dict(hooks=[dict(type='CheckpointHook', interval=1), Streams()])
    whole = train(toy_runner, 'whole', **changes)
    path = Path(whole.work_dir) / f'{name}.pth'
    checkpoint = torch.load(path, weights_only=False)
    del checkpoint['amt_position']
    torch.save(checkpoint, path)
    resumed = resume(toy_runner, whole, name, **changes)
    check_same(resumed, whole, {'iter_4': 5, 'epoch_1': 6}[name])


def test_a_loader_built_by_hand_is_left_alone(toy_runner, toy_images):
    dataset = toy_images(7)
    built = DataLoader(dataset, batch_size=3, sampler=DefaultSampler(dataset))
    assert seeded_loader(built) is built
    by_hand = dict(batch_sampler=[[0, 1]], dataset=dataset)
    assert seeded_loader(by_hand) is by_hand


@pytest.mark.slow
@pytest.mark.parametrize('counts', [2, 4])
def test_gradients_of_an_open_cycle_are_kept(toy_runner, counts):
    """9 batches in cycles of 2 or 4: checkpoints within cycles, one open over an epoch's end."""
    def changes():
        return dict(hooks=[Streams()], optim_wrapper=dict(
            type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3), accumulative_counts=counts))

    whole = train(toy_runner, 'whole', **changes())
    for done in (1, 2, 3, 5):
        path = f'{whole.work_dir}/iter_{done}.pth'
        checkpoint = torch.load(path, weights_only=False)
        assert ('amt_open_gradients' in checkpoint) is (done % counts > 0)
        resumed = resume(toy_runner, whole, f'iter_{done}', f'from{done}', **changes())
        check_same(resumed, whole, 9 - done)


@pytest.mark.slow
def test_two_processes_resumed_equal_two_that_were_not(tmp_path):
    script = Path(__file__).parent / 'two_processes_resume.py'
    said = in_two_real_processes(script, tmp_path, timeout=240)
    assert said.count('as the unbroken one from 2, 3, 5') == 2


class OwnLoop(EpochBasedTrainLoop):
    """A user's."""


@pytest.mark.parametrize(('loop', 'kind'), [
    (dict(by_epoch=True, max_epochs=1), ResumableEpochLoop),
    (dict(by_epoch=False, max_iters=1), ResumableIterLoop),
    (dict(type='EpochBasedTrainLoop'), ResumableEpochLoop),
    (dict(type='mmengine.IterBasedTrainLoop'), ResumableIterLoop),
    (dict(type=IterBasedTrainLoop), ResumableIterLoop), (dict(type=OwnLoop), OwnLoop)])
def test_mmengines_loops_are_replaced_and_no_others(loop, kind):
    resumable = resumable_loop(loop)
    assert resumable['type'] is kind and 'by_epoch' not in resumable


def test_samples_are_seeded_in_a_loop_of_the_users_own(toy_runner):
    runner = toy_runner(train_cfg=dict(type=OwnLoop, max_epochs=2))
    runner.train()
    boxes = [box for step in runner.recorder.steps for box in step['crop_box']]
    assert len(set(boxes)) == 14
    assert Runner.train_loop.fget(runner).__class__ is OwnLoop


def test_a_loop_of_two_kinds_is_refused():
    with pytest.raises(InputError, match='both type=EpochBasedTrainLoop and by_epoch=True'):
        resumable_loop(dict(type='EpochBasedTrainLoop', by_epoch=True))


@pytest.mark.parametrize('loop', [dict(by_epoch=True, max_epochs=2),
                                  dict(by_epoch=False, max_iters=2)])
def test_a_loader_without_a_batch_is_one_line(toy_runner, loop):
    runner = toy_runner(loader=dict(batch_size=9, drop_last=True), train_cfg=loop)
    with pytest.raises(InputError, match='train_dataloader gives no batch: 7 samples fill none'):
        runner.train()
