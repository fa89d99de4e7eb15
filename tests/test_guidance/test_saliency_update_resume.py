"""SaliencyUpdateHook: what a resumed run does, and which maps it uses."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from guided_runs import GUIDED, WARMUP, counts, states, warnings_of

from amt_mm.datasets import dataset_fingerprint
from amt_mm.errors import InputError
from amt_mm.guidance import SaliencyUpdateHook
from amt_mm.reliability import StepSeedHook


def check_same(found, wanted):
    """Weights, maps and every plan of two runs, bit for bit."""
    for name, value in states(wanted.model).items():
        assert torch.equal(states(found.model)[name], value), name
    by_iter = {step['iter']: step for step in wanted.recorder.steps}
    assert found.recorder.steps
    for step in found.recorder.steps:
        for key, value in by_iter[step['iter']].items():
            same = torch.equal(step[key], value) if torch.is_tensor(value) else step[key] == value
            assert same, f'{key} in iteration {step["iter"]}'
    folders = [Path(runner.work_dir) / 'saliency' for runner in (found, wanted)]
    for path in folders[0].iterdir():
        assert path.read_bytes() == (folders[1] / path.name).read_bytes(), path.name


def hooks():
    return [StepSeedHook(), SaliencyUpdateHook(begin=2, interval=2)]


@pytest.mark.slow
@pytest.mark.parametrize(('workers', 'starts'), [(0, (1, 2, 3, 4)), (1, (2, 3))])
def test_a_resumed_run_equals_an_uninterrupted_one(toy_runner, workers, starts):
    """Refreshes before epochs 2 and 4 (from 0): resume before, at and after each."""
    loader = dict(num_workers=workers)
    whole = toy_runner('whole', hooks(), loader=loader, epochs=5)
    whole.train()
    assert {step['map_step'] for step in whole.recorder.steps} == {None, 2, 4}
    for epoch in starts:
        resumed = toy_runner(f'from{epoch}', hooks(), loader=loader, epochs=5, resume=True,
                             load_from=f'{whole.work_dir}/epoch_{epoch}.pth')
        resumed.train()
        assert len(resumed.recorder.steps) == (5 - epoch) * 3
        check_same(resumed, whole)


@pytest.mark.slow
def test_a_stopped_run_continues_in_its_own_folder(toy_runner):
    whole = toy_runner('whole', hooks(), epochs=5)
    whole.train()
    for stop in (2, 3):
        toy_runner(f'broken{stop}', hooks(), epochs=stop).train()
        resumed = toy_runner(f'broken{stop}', hooks(), epochs=5, resume=True)
        resumed.train()
        assert len(resumed.recorder.steps) == (5 - stop) * 3
        check_same(resumed, whole)


@pytest.mark.slow
@pytest.mark.parametrize('start', [1, 2, 3, 5, 6])
def test_a_resumed_iteration_based_run_equals_an_uninterrupted_one(toy_runner, start):
    def run(work_dir, **changes):
        runner = toy_runner(
            work_dir, [StepSeedHook(), SaliencyUpdateHook(2, 3, by_epoch=False)],
            loader=dict(sampler=dict(type='InfiniteSampler', shuffle=True)),
            train_cfg=dict(type='IterBasedTrainLoop', max_iters=8),
            default_hooks=dict(logger=None, checkpoint=dict(
                type='CheckpointHook', interval=1, by_epoch=False)), **changes)
        runner.train()
        return runner

    whole = run('whole')
    resumed = run('resumed', resume=True, load_from=f'{whole.work_dir}/iter_{start}.pth')
    assert len(resumed.recorder.steps) == 8 - start
    check_same(resumed, whole)


def broken_run(toy_runner, epochs=3):
    runner = toy_runner('broken', hooks(), epochs=epochs)
    runner.train()
    return Path(runner.work_dir)


def test_a_missing_map_file_is_named_on_resume(toy_runner):
    folder = broken_run(toy_runner)
    os.remove(folder / 'saliency' / 'epoch_2.amtmap')
    with pytest.raises(InputError, match=r'epoch_2\.amtmap.*broken/saliency'):
        toy_runner('broken', hooks(), epochs=5, resume=True,
                   load_from=str(folder / 'epoch_3.pth')).train()


def test_a_damaged_map_file_is_named_on_resume(toy_runner):
    folder = broken_run(toy_runner)
    path = folder / 'saliency' / 'epoch_2.amtmap'
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    with pytest.raises(InputError, match=r'epoch_2\.amtmap: the maps of samples 0 to 6 are'):
        toy_runner('broken', hooks(), epochs=5, resume=True,
                   load_from=str(folder / 'epoch_3.pth')).train()


@pytest.mark.parametrize('change', ['fewer', 'other order', 'other image'])
def test_maps_of_another_data_set_are_refused_on_resume(toy_runner, toy_images, change):
    images = list(toy_images(7).images)
    folder = broken_run(toy_runner)
    if change == 'fewer':
        images = images[:-1]
    elif change == 'other order':
        images = images[::-1]
    else:
        images[3] = 255 - images[3]
    with pytest.raises(InputError, match=r'epoch_2\.amtmap: these maps belong to another data set'):
        toy_runner('other', hooks(), epochs=5, dataset=toy_images(images), resume=True,
                   load_from=str(folder / 'epoch_3.pth')).train()


def test_maps_are_those_of_the_checkpoint_not_of_the_same_name_in_the_work_dir(toy_runner):
    """Another run has left an epoch_2.amtmap in the folder in which this one continues."""
    whole = toy_runner('whole', hooks(), epochs=4)
    whole.train()
    stranger = toy_runner('stranger', hooks(), epochs=3, seed=1)
    stranger.train()
    names = [Path(runner.work_dir) / 'saliency' / 'epoch_2.amtmap' for runner in (whole, stranger)]
    assert names[0].read_bytes() != names[1].read_bytes()
    resumed = toy_runner('stranger', hooks(), epochs=4, resume=True,
                         load_from=f'{whole.work_dir}/epoch_3.pth')
    resumed.train()
    for name, value in states(whole.model).items():
        assert torch.equal(states(resumed.model)[name], value), name


def test_maps_that_another_run_has_overwritten_are_refused(toy_runner):
    """The same data set and the same name: only what the checkpoint knows can tell."""
    folder = broken_run(toy_runner)
    os.rename(folder / 'epoch_3.pth', folder.parent / 'kept.pth')
    toy_runner('broken', hooks(), epochs=3, seed=1).train()
    with pytest.raises(InputError, match=r'epoch_2\.amtmap'):
        toy_runner('broken', hooks(), epochs=4, resume=True,
                   load_from=str(folder.parent / 'kept.pth')).train()


def test_a_run_resumed_elsewhere_can_itself_be_resumed(toy_runner):
    whole = toy_runner('whole', hooks(), epochs=4)
    whole.train()
    start = f'{whole.work_dir}/epoch_3.pth'
    toy_runner('new', hooks(), epochs=4, resume=True, load_from=start).train()
    # The latest checkpoint is its own now, and names maps that were made in the other folder.
    again = toy_runner('new', hooks(), epochs=5, resume=True)
    again.train()
    assert {step['map_step'] for step in again.recorder.steps} == {4}


def test_a_map_file_beside_the_checkpoint_is_found(toy_runner):
    folder = broken_run(toy_runner)
    (folder.parent / 'moved' / 'saliency').mkdir(parents=True)
    shutil.move(folder / 'epoch_3.pth', folder.parent / 'moved')
    shutil.move(folder / 'saliency' / 'epoch_2.amtmap', folder.parent / 'moved' / 'saliency')
    resumed = toy_runner('new', hooks(), epochs=4, resume=True,
                         load_from=str(folder.parent / 'moved' / 'epoch_3.pth'))
    resumed.train()
    assert [step['map_step'] for step in resumed.recorder.steps] == [2, 2, 2]


def test_a_plain_mae_checkpoint_resumed_into_guidance_gets_maps_at_once(toy_runner, monkeypatch):
    toy_runner('run', [StepSeedHook()], epochs=3).train()
    runner = toy_runner('run', hooks(), epochs=5, resume=True)
    said = warnings_of(runner, monkeypatch)
    runner.train()
    assert [step['map_step'] for step in runner.recorder.steps] == [3, 3, 3, 4, 4, 4]
    assert all(counts(step) == GUIDED for step in runner.recorder.steps)
    assert sum('no saliency maps' in text for text in said) == 1


def test_a_plain_mae_checkpoint_resumed_before_guidance_waits(toy_runner, monkeypatch):
    toy_runner('run', [StepSeedHook()], epochs=1).train()
    runner = toy_runner('run', hooks(), epochs=3, resume=True)
    said = warnings_of(runner, monkeypatch)
    runner.train()
    assert [step['map_step'] for step in runner.recorder.steps] == [None] * 3 + [2] * 3
    assert not any('saliency' in text for text in said)


def test_load_from_restores_no_maps(toy_runner):
    folder = broken_run(toy_runner)
    runner = toy_runner('new', hooks(), epochs=1, load_from=str(folder / 'epoch_3.pth'))
    runner.train()
    assert [counts(step) for step in runner.recorder.steps] == [WARMUP] * 3


def test_the_checkpoint_refers_to_the_maps_in_use(toy_runner):
    folder = broken_run(toy_runner)
    saved = [torch.load(folder / f'epoch_{epoch}.pth', weights_only=False)['amt_saliency']
             for epoch in (1, 2, 3)]
    assert saved[:2] == [None, None]
    assert saved[2]['file'] == 'epoch_2.amtmap' and saved[2]['step'] == 2
    dataset = toy_runner('look').train_dataloader.dataset
    assert saved[2]['fingerprint'] == dataset_fingerprint(dataset)
