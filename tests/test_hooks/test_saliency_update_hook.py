"""SaliencyUpdateHook: when maps are made, from what, and what a resumed run does (traps 9, 10)."""

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.hooks import Hook

from amt_mm.datasets import dataset_fingerprint, whole_image_view
from amt_mm.errors import InputError
from amt_mm.hooks import SaliencyUpdateHook, StepSeedHook, refresh
from amt_mm.saliency import SaliencyStore

GUIDED, WARMUP = (15, 14, 6), (26, 0, 9)


def counts(step):
    return tuple(step[kind].shape[1] for kind in ('masked', 'thrown', 'visible'))


def warnings_of(runner, monkeypatch):
    said = []
    monkeypatch.setattr(runner.logger, 'warning', lambda text, *args: said.append(text))
    return said


def slow_map(model, image):
    """Explicit softmax of the last block's [CLS] row of one image, mean over heads, min-max."""
    vit = model.backbone
    with torch.no_grad():
        tokens = torch.cat([vit.cls_token[0], vit.patch_embed(image[None])[0][0]]) \
            + vit.pos_embed[0]
        for layer in vit.layers[:-1]:
            tokens = layer(tokens[None])[0]
        last = vit.layers[-1]
        qkv = last.attn.qkv(last.ln1(tokens)).double()
        rows = []
        for head in range(3):
            query, key = (qkv[:, part * 24 + head * 8:part * 24 + head * 8 + 8]
                          for part in (0, 1))
            row = torch.exp((key @ query[0]) / 8**0.5)
            rows.append((row / row.sum())[1:])
        mean = sum(rows) / 3
    return ((mean - mean.min()) / (mean.max() - mean.min())).float()


def slow_maps(runner):
    model, view = runner.model, whole_image_view(runner.train_dataloader.dataset)
    model.eval()
    inputs = [model.data_preprocessor({'inputs': view[i]['inputs'][None],
                                       'data_samples': None})['inputs'][0]
              for i in range(len(view))]
    return torch.stack([slow_map(model, image) for image in inputs]).reshape(len(view), 5, 7)


def maps_of(path):
    store = SaliencyStore(path)
    return store.lookup(torch.arange(store.num_samples))


@pytest.mark.parametrize(('begin', 'interval', 'end', 'refreshed'), [
    (0, 2, None, [0, 2, 4]), (1, 1, None, [1, 2, 3, 4]), (2, 2, None, [2, 4]), (1, 2, 3, [1]),
    (1, 2, 4, [1, 3]), (4, 1, None, [4])])
def test_trap_9_first_guided_epoch_interval_and_end(toy_runner, begin, interval, end, refreshed):
    runner = toy_runner(hooks=[SaliencyUpdateHook(begin, interval, end)], epochs=5)
    runner.train()
    assert len(runner.recorder.steps) == 5 * 3
    for step in runner.recorder.steps:
        made = [epoch for epoch in refreshed if epoch <= step['epoch']]
        assert step['map_step'] == (made[-1] if made else None), step['epoch']
        assert counts(step) == (GUIDED if made else WARMUP), step['epoch']
    assert sorted(path.name for path in (Path(runner.work_dir) / 'saliency').iterdir()) == sorted(
        f'epoch_{epoch}.amtmap' for epoch in refreshed)


@pytest.mark.parametrize('workers', [0, 1])
def test_trap_9_iterations_count_in_an_iteration_based_loop(toy_runner, workers):
    runner = toy_runner(
        hooks=[SaliencyUpdateHook(begin=2, interval=3, end=7, by_epoch=False)],
        loader=dict(sampler=dict(type='InfiniteSampler', shuffle=True), num_workers=workers,
                    persistent_workers=bool(workers)),
        train_cfg=dict(type='IterBasedTrainLoop', max_iters=10))
    runner.train()
    assert [step['map_step'] for step in runner.recorder.steps] == [
        None, None, 2, 2, 2, 5, 5, 5, 5, 5]
    assert [counts(step) for step in runner.recorder.steps] == [WARMUP] * 2 + [GUIDED] * 8
    assert maps_of(Path(runner.work_dir) / 'saliency' / 'iter_5.amtmap').shape == (7, 5, 7)


def test_iterations_count_in_an_epoch_based_loop_too(toy_runner):
    runner = toy_runner(hooks=[SaliencyUpdateHook(begin=1, interval=3, by_epoch=False)], epochs=2)
    runner.train()
    assert [step['map_step'] for step in runner.recorder.steps] == [None, 1, 1, 1, 4, 4]


@pytest.mark.parametrize('dtype', ['float16', 'uint8'])
@pytest.mark.parametrize('batch_size', [None, 2])
def test_maps_are_the_explicit_softmax_of_each_whole_image(toy_runner, dtype, batch_size):
    """7 samples in batches of 3 or 2: the last, partial batch is a sample like any other."""
    runner = toy_runner(hooks=[SaliencyUpdateHook(0, 9, dtype=dtype, batch_size=batch_size)],
                        epochs=1, optim_wrapper=dict(
                            type='OptimWrapper', optimizer=dict(type='SGD', lr=0.0)))
    runner.train()
    found = maps_of(Path(runner.work_dir) / 'saliency' / 'epoch_0.amtmap')
    step = {'float16': 2**-11, 'uint8': 1 / 510}[dtype]
    torch.testing.assert_close(found, slow_maps(runner), rtol=0, atol=step + 1e-5)
    assert torch.equal(found.flatten(1).amax(dim=1), torch.ones(7))
    assert not torch.equal(found[0], found[1])


def test_maps_are_made_with_the_weights_of_that_moment(toy_runner):
    wanted = {}

    class Watch(Hook):
        priority = 'HIGH'  # before the refresh

        def before_train_epoch(self, runner):
            wanted[runner.epoch] = slow_maps(runner)

    runner = toy_runner(hooks=[Watch(), SaliencyUpdateHook(1, 2)], optim_wrapper=dict(
        type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.05)))
    runner.train()
    for epoch in (1, 3):
        found = maps_of(Path(runner.work_dir) / 'saliency' / f'epoch_{epoch}.amtmap')
        torch.testing.assert_close(found, wanted[epoch], rtol=0, atol=1e-3)
    assert (wanted[1] - wanted[3]).abs().max() > 0.05


@pytest.mark.parametrize('loader', [
    dict(num_workers=0), dict(num_workers=1, persistent_workers=True),
    dict(num_workers=1, persistent_workers=False)], ids=['0', 'persistent', 'not persistent'])
def test_trap_9_a_refresh_reaches_the_very_next_batch(toy_runner, toy_images, monkeypatch, loader):
    """Maps that shout: from each refresh on, all attention is on another token."""
    hot = {1: (1, 1), 2: (1, 5), 3: (3, 1), 4: (3, 5)}

    def shout(vit, images, normalize):
        row, column = hot[made[-1]]
        maps = torch.zeros(len(images), 35)
        maps[:, row * 7 + column] = 1
        return maps

    made = []
    hook = SaliencyUpdateHook(1, 1)
    make = hook.refresh
    hook.refresh = lambda runner, step: (made.append(step), make(runner, step))
    monkeypatch.setattr(refresh, 'cls_saliency', shout)
    whole = [dict(type='amt_mm.RandomResizedCropWithBox', scale=(40, 56),
                  crop_ratio_range=(1.0, 1.0), aspect_ratio_range=(1.4, 1.4)),
             dict(type='amt_mm.PackInputsWithBox')]
    dataset = toy_images([np.zeros((40, 56, 3), np.uint8)] * 7, whole)
    runner = toy_runner(hooks=[hook], dataset=dataset, loader=loader, epochs=5)
    runner.train()
    assert made == [1, 2, 3, 4]
    for step in runner.recorder.steps:
        assert set(step['crop_box']) == {(0.0, 0.0, 1.0, 1.0)}
        if step['epoch']:
            # Interpolation spreads it over 3 x 3 tokens; those outweigh the others' floor by far.
            row, column = hot[step['epoch']]
            wanted = {7 * r + c for r in range(row - 1, row + 2)
                      for c in range(column - 1, column + 2)}
            for first in step['masked'][:, :9].tolist():
                assert set(first) == wanted, step['epoch']


def states(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


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


@pytest.mark.parametrize(('workers', 'starts'), [(0, (1, 2, 3, 4)), (1, (2, 3))])
def test_trap_9_a_resumed_run_equals_the_unbroken_one(toy_runner, workers, starts):
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


def test_trap_9_a_run_that_stopped_goes_on_in_its_own_folder(toy_runner):
    whole = toy_runner('whole', hooks(), epochs=5)
    whole.train()
    for stop in (2, 3):
        toy_runner(f'broken{stop}', hooks(), epochs=stop).train()
        resumed = toy_runner(f'broken{stop}', hooks(), epochs=5, resume=True)
        resumed.train()
        assert len(resumed.recorder.steps) == (5 - stop) * 3
        check_same(resumed, whole)


@pytest.mark.parametrize('start', [1, 2, 3, 5, 6])
def test_trap_9_an_iteration_based_run_resumed_equals_the_unbroken_one(toy_runner, start):
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


@pytest.mark.parametrize('workers', [0, 1])
def test_trap_9_a_refresh_draws_no_random_number_of_training(toy_runner, toy_mae, workers):
    """Two runs, one of which makes maps that its plans never use: the same to the last bit."""
    runs = []
    for name, extra in (('plain', []), ('refreshing', [SaliencyUpdateHook(1, 1)])):
        model = toy_mae(build=False, data_preprocessor=dict(
            mask_generator=dict(type='amt_mm.RandomMaskGenerator')))
        runs.append(toy_runner(name, extra, loader=dict(num_workers=workers), epochs=3,
                               model=model))
        runs[-1].train()
    plain, refreshing = runs
    assert refreshing.model.data_preprocessor.store.step == 2
    for step, wanted in zip(refreshing.recorder.steps, plain.recorder.steps, strict=True):
        for key in ('sample_idx', 'crop_box', 'flip'):
            assert step[key] == wanted[key], f'{key} in iteration {step["iter"]}'
        assert torch.equal(step['masked'], wanted['masked']), f'plan in iteration {step["iter"]}'
    for name, value in states(plain.model).items():
        assert torch.equal(value, states(refreshing.model)[name]), name


def test_trap_9_a_refresh_leaves_all_three_random_streams_where_they_were(toy_runner):
    hook = SaliencyUpdateHook(3, 1)
    runner = toy_runner(hooks=[hook], epochs=1)
    runner.train()
    python_state, torch_state = random.getstate(), torch.get_rng_state()
    numpy_state = np.random.get_state()
    hook.refresh(runner, 1)
    assert random.getstate() == python_state
    assert torch.equal(torch.get_rng_state(), torch_state)
    for before, after in zip(numpy_state, np.random.get_state(), strict=True):
        np.testing.assert_array_equal(before, after)


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


def test_maps_are_those_of_the_checkpoint_not_of_a_namesake_in_the_work_dir(toy_runner):
    """Another run has left an epoch_2.amtmap in the folder that this one goes on in."""
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


def test_weights_loaded_to_start_anew_bring_no_maps(toy_runner):
    folder = broken_run(toy_runner)
    runner = toy_runner('new', hooks(), epochs=1, load_from=str(folder / 'epoch_3.pth'))
    runner.train()
    assert [counts(step) for step in runner.recorder.steps] == [WARMUP] * 3


def test_the_checkpoint_names_the_maps_in_use(toy_runner):
    folder = broken_run(toy_runner)
    saved = [torch.load(folder / f'epoch_{epoch}.pth', weights_only=False)['amt_saliency']
             for epoch in (1, 2, 3)]
    assert saved[:2] == [None, None]
    assert saved[2]['file'] == 'epoch_2.amtmap' and saved[2]['step'] == 2
    dataset = toy_runner('look').train_dataloader.dataset
    assert saved[2]['fingerprint'] == dataset_fingerprint(dataset)


def test_a_beginning_after_the_end_of_training_is_warned_of(toy_runner, monkeypatch):
    runner = toy_runner(hooks=[SaliencyUpdateHook(begin=1)], epochs=1)
    said = warnings_of(runner, monkeypatch)
    runner.train()
    assert any('masks stay random' in text for text in said)


def test_training_in_bf16_runs_and_resamples_in_fp32(toy_runner, monkeypatch):
    """MMEngine refuses mixed precision without a GPU although torch's autocast works there."""
    from mmengine.optim.optimizer import amp_optimizer_wrapper

    from amt_mm.models import data_preprocessor
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    types, losses = [], []
    resample = data_preprocessor.resample

    def spy(maps, boxes, grid):
        assert torch.is_autocast_enabled('cpu')
        found = resample(maps, boxes, grid)
        with torch.autocast('cpu', enabled=False):
            assert torch.equal(found, resample(maps, boxes, grid))
        types.append(found.dtype)
        return found

    class Watch(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            losses.append(float(outputs['loss']))

    monkeypatch.setattr(data_preprocessor, 'resample', spy)
    runner = toy_runner(hooks=[SaliencyUpdateHook(1, 1), Watch()], epochs=3, optim_wrapper=dict(
        type='AmpOptimWrapper', dtype='bfloat16', optimizer=dict(type='AdamW', lr=1e-3)))
    runner.train()
    assert types == [torch.float32] * 6
    assert len(losses) == 9 and np.isfinite(losses).all() and min(losses) > 0
    found = maps_of(Path(runner.work_dir) / 'saliency' / 'epoch_2.amtmap')
    assert found.isfinite().all() and torch.equal(found.flatten(1).amax(dim=1), torch.ones(7))


@pytest.mark.parametrize('settings', [
    dict(begin=-1), dict(interval=0), dict(begin=3, end=3), dict(begin=2.5), dict(begin=None),
    dict(interval='40'), dict(interval=None), dict(end=41.5), dict(interval=True)])
def test_an_impossible_calendar_is_refused(settings):
    with pytest.raises(InputError, match='is no calendar'):
        SaliencyUpdateHook(**settings)


@pytest.mark.parametrize('settings', [
    dict(normalize='rows'), dict(by_epoch='no'), dict(by_epoch=0), dict(max_flat='half'),
    dict(max_flat=2)])
def test_an_unknown_option_is_named(settings):
    with pytest.raises(InputError, match=f'^{next(iter(settings))}='):
        SaliencyUpdateHook(**settings)


def test_a_data_preprocessor_that_cannot_guide_is_named(toy_runner, toy_mae):
    model = toy_mae(build=False)
    model['data_preprocessor'] = dict(type='SelfSupDataPreprocessor')
    with pytest.raises(InputError, match='AMTDataPreprocessor.*not SelfSupDataPreprocessor'):
        toy_runner(hooks=[SaliencyUpdateHook(1)], model=model).train()


def test_a_pipeline_without_a_box_is_refused_before_the_first_epoch(toy_runner, toy_images):
    pipeline = [dict(type='RandomResizedCrop', scale=(40, 56)), dict(type='PackInputs')]
    runner = toy_runner(hooks=[SaliencyUpdateHook(3)], dataset=toy_images(3, pipeline))
    with pytest.raises(InputError, match='RandomResizedCropWithBox'):
        runner.train()
    assert not runner.recorder.steps


def test_concatenated_data_sets_get_one_map_a_sample(toy_runner, toy_images):
    images = toy_images(7).images
    dataset = dict(type='amt_mm.ConcatDataset',
                   datasets=[toy_images(images[:4]), toy_images(images[4:])])
    maps = []
    for name, data in (('one', toy_images(images)), ('two', dataset),
                       ('repeated', dict(type='RepeatDataset', times=2, dataset=dataset))):
        runner = toy_runner(name, [SaliencyUpdateHook(0)], dataset=data, epochs=1)
        runner.train()
        store = SaliencyStore(Path(runner.work_dir) / 'saliency' / 'epoch_0.amtmap')
        maps.append(store.lookup(torch.arange(7)).tolist())
    assert maps[0] == maps[1] == maps[2]


@pytest.mark.slow
def test_trap_10_two_processes_give_the_map_of_one(toy_runner, tmp_path):
    """7 samples for 2 processes: one is filled up. Each still gets its own map, once."""
    hook = SaliencyUpdateHook(0, 9, batch_size=2)
    one = toy_runner('one', [hook], epochs=1)
    one.train()
    script = Path(__file__).parent / 'two_processes.py'
    done = subprocess.run(
        [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2',
         str(script), str(tmp_path / 'two')],
        env={**os.environ, 'OMP_NUM_THREADS': '1'}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    folder = tmp_path / 'two'
    stores = [SaliencyStore(path / 'saliency' / 'epoch_0.amtmap')
              for path in (Path(one.work_dir), folder)]
    assert stores[0].fingerprint == stores[1].fingerprint
    maps = [store.lookup(torch.arange(7)) for store in stores]
    # A half-precision step apart at most: batches of other sizes round otherwise.
    torch.testing.assert_close(maps[1], maps[0], rtol=0, atol=1e-3)
    plans = [torch.load(folder / f'rank{rank}.pt') for rank in (0, 1)]
    assert [plan['map_step'] for plan in plans] == [[0, 0], [0, 0]]
    # Ranks hold different samples (one twice) and draw different masks, and stay in step.
    seen = sorted(i for plan in plans for batch in plan['sample_idx'] for i in batch)
    assert len(seen) == 8 and set(seen) == set(range(7))
    assert not torch.equal(plans[0]['masked'], plans[1]['masked'])
    assert not set(plans[0]['crop_box']) & set(plans[1]['crop_box'])
    for name, value in plans[0]['weights'].items():
        assert torch.equal(value, plans[1]['weights'][name]), name


def test_epochs_in_a_loop_that_counts_iterations_are_refused(toy_runner):
    """Else the calendar would never come round, and masks stay random to the end."""
    runner = toy_runner(hooks=[SaliencyUpdateHook(begin=2)],
                        train_cfg=dict(type='IterBasedTrainLoop', max_iters=4))
    with pytest.raises(InputError, match='by_epoch=False'):
        runner.train()


def test_fallbacks_after_the_last_refresh_are_told(toy_runner, monkeypatch):
    runner = toy_runner(hooks=[SaliencyUpdateHook(begin=0, interval=9, max_flat=1)],
                        epochs=1)
    monkeypatch.setattr(refresh, 'cls_saliency', lambda vit, images, normalize: torch.zeros(
        len(images), 35))
    texts = []
    monkeypatch.setattr(runner.logger, 'warning', lambda text, *args: texts.append(text))
    runner.train()
    assert sum(text.startswith('7 crops were planned by chance') for text in texts) == 1


@pytest.mark.parametrize(('flat', 'stops'), [(3, False), (4, True)])
def test_a_refresh_of_mostly_flat_maps_stops_before_they_are_used(toy_runner, monkeypatch, flat,
                                                                  stops):
    """Of 7 maps .5 are 3.5; the second refresh is the bad one."""
    def some(vit, images, normalize):
        maps = torch.rand(len(images), 35)
        made.extend(maps)
        if len(made) > 7:
            maps[[len(made) - 7 - len(images) + i < flat for i in range(len(images))]] = 0
        return maps

    made = []
    monkeypatch.setattr('amt_mm.hooks.refresh.cls_saliency', some)
    runner = toy_runner(hooks=[SaliencyUpdateHook(1, 1)], epochs=3)
    if stops:
        with pytest.raises(InputError, match='4 of 7 saliency maps are flat.*max_flat=0.5'):
            runner.train()
        assert runner.epoch == 2 and runner.model.data_preprocessor.store.step == 1
        files = sorted((Path(runner.work_dir) / 'saliency').iterdir())
        assert [path.name for path in files] == ['epoch_1.amtmap']  # and no .tmp
    else:
        runner.train()
        assert runner.model.data_preprocessor.store.step == 2


@pytest.mark.parametrize('share', [-0.1, 1.5])
def test_max_flat_is_a_share(share):
    with pytest.raises(InputError, match='max_flat'):
        SaliencyUpdateHook(max_flat=share)
