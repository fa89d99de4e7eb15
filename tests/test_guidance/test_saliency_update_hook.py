"""SaliencyUpdateHook: when maps are made, and from what."""

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from guided_runs import GUIDED, WARMUP, counts, maps_of, states
from mmengine.hooks import Hook
from torchrun import in_two_real_processes

from amt_mm.datasets import whole_image_view
from amt_mm.guidance import SaliencyUpdateHook
from amt_mm.saliency import SaliencySource, SaliencyStore


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


@pytest.mark.parametrize(('begin', 'interval', 'end', 'refreshed'), [
    (0, 2, None, [0, 2, 4]), (1, 1, None, [1, 2, 3, 4]), (2, 2, None, [2, 4]), (1, 2, 3, [1]),
    (1, 2, 4, [1, 3]), (4, 1, None, [4])])
def test_first_guided_epoch_interval_and_end(toy_runner, begin, interval, end, refreshed):
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
def test_iterations_count_in_an_iteration_based_loop(toy_runner, workers):
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


@pytest.mark.slow
def test_iterations_count_in_an_epoch_based_loop_too(toy_runner):
    runner = toy_runner(hooks=[SaliencyUpdateHook(begin=1, interval=3, by_epoch=False)], epochs=2)
    runner.train()
    assert [step['map_step'] for step in runner.recorder.steps] == [None, 1, 1, 1, 4, 4]


@pytest.mark.slow
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


def test_maps_are_computed_with_the_current_weights(toy_runner):
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


@pytest.mark.slow
@pytest.mark.parametrize('loader', [
    dict(num_workers=0), dict(num_workers=1, persistent_workers=True),
    dict(num_workers=1, persistent_workers=False)], ids=['0', 'persistent', 'not persistent'])
def test_the_batch_after_a_refresh_uses_its_maps(toy_runner, toy_images, monkeypatch, loader):
    """After each refresh all attention is on another token."""
    hot = {1: (1, 1), 2: (1, 5), 3: (3, 1), 4: (3, 5)}

    def shout(source, vit, images, means):
        row, column = hot[made[-1]]
        maps = torch.zeros(len(images), 35)
        maps[:, row * 7 + column] = 1
        return maps

    made = []
    hook = SaliencyUpdateHook(1, 1)
    make = hook.refresh
    hook.refresh = lambda runner, step: (made.append(step), make(runner, step))
    monkeypatch.setattr(SaliencySource, 'maps', shout)
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


@pytest.mark.slow
@pytest.mark.parametrize('workers', [0, 1])
def test_a_refresh_consumes_no_random_number_of_training(toy_runner, toy_mae, workers):
    """Two runs, one of which makes maps that its plans never use: the same to the last bit."""
    runs = []
    for name, extra in (('plain', []), ('refreshing', [SaliencyUpdateHook(1, 1)])):
        model = toy_mae(build=False, data_preprocessor=dict(
            mask_generator=dict(type='amt_mm.RandomMaskGenerator')))
        runs.append(toy_runner(name, extra, loader=dict(num_workers=workers), epochs=3,
                               model=model))
        # Its guided plans are random ones; told so, the hook would refuse to work for nothing.
        runs[-1].model.data_preprocessor.mask_generator.needs_weights = True
        runs[-1].train()
    plain, refreshing = runs
    assert refreshing.model.data_preprocessor.store.step == 2
    for step, wanted in zip(refreshing.recorder.steps, plain.recorder.steps, strict=True):
        for key in ('sample_idx', 'crop_box', 'flip'):
            assert step[key] == wanted[key], f'{key} in iteration {step["iter"]}'
        assert torch.equal(step['masked'], wanted['masked']), f'plan in iteration {step["iter"]}'
    for name, value in states(plain.model).items():
        assert torch.equal(value, states(refreshing.model)[name]), name


def test_a_refresh_leaves_all_three_random_streams_unchanged(toy_runner):
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
def test_two_processes_give_the_maps_of_one(toy_runner, tmp_path):
    """7 samples for 2 processes: one share is padded, and each sample gets its own map once."""
    hook = SaliencyUpdateHook(0, 9, batch_size=2)
    one = toy_runner('one', [hook], epochs=1)
    one.train()
    script = Path(__file__).parent / 'two_processes.py'
    in_two_real_processes(script, tmp_path / 'two')
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
