"""EpochSeedHook: fresh crops each epoch, other ones in each process, the same after a resume."""

import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from amt_mm.hooks import EpochSeedHook, epoch_seed_hook


def crops_of(runner):
    """Epoch -> sample -> (box, flip)."""
    crops = {}
    for step in runner.recorder.steps:
        crops.setdefault(step['epoch'], {}).update(
            zip(step['sample_idx'], zip(step['crop_box'], step['flip'], strict=True),
                strict=True))
    return crops


@pytest.mark.parametrize('loader', [
    dict(num_workers=0), dict(num_workers=2, persistent_workers=False)], ids=['0', '2'])
def test_each_epoch_has_crops_of_its_own(toy_runner, loader):
    runner = toy_runner(hooks=[EpochSeedHook()], loader=loader, epochs=3)
    runner.train()
    crops = crops_of(runner)
    boxes = [crops[epoch][sample][0] for epoch in range(3) for sample in range(7)]
    assert len(set(boxes)) == 21


def test_without_the_hook_mmengine_repeats_the_crops(toy_runner):
    """Why the hook exists: if this fails one day, it can go."""
    # In order, so that each worker meets the same samples again.
    runner = toy_runner(epochs=2, loader=dict(
        num_workers=1, sampler=dict(type='DefaultSampler', shuffle=False)))
    runner.train()
    crops = crops_of(runner)
    assert crops[0] == crops[1]


@pytest.mark.parametrize('workers', [0, 1])
def test_a_resumed_run_draws_the_crops_and_masks_of_the_unbroken_one(toy_runner, workers):
    loader = dict(num_workers=workers)
    whole = toy_runner('whole', [EpochSeedHook()], loader=loader, epochs=3)
    whole.train()
    resumed = toy_runner('resumed', [EpochSeedHook()], loader=loader, epochs=3, resume=True,
                         load_from=f'{whole.work_dir}/epoch_1.pth')
    resumed.train()
    assert crops_of(resumed) == {epoch: crops_of(whole)[epoch] for epoch in (1, 2)}
    for found, wanted in zip(resumed.recorder.steps, whole.recorder.steps[3:], strict=True):
        assert torch.equal(found['masked'], wanted['masked'])


def test_another_seed_gives_other_crops(toy_runner):
    runs = [toy_runner(f'seed{seed}', [EpochSeedHook()], epochs=1, seed=seed) for seed in (0, 1)]
    for runner in runs:
        runner.train()
    boxes = [{box for box, _ in crops_of(runner)[0].values()} for runner in runs]
    assert not boxes[0] & boxes[1]


def streams(monkeypatch, seed=3, epoch=0, rank=0, workers=2):
    """What the main process and each worker draw first, of all three generators."""
    monkeypatch.setattr(epoch_seed_hook, 'get_rank', lambda: rank)
    loader = SimpleNamespace(num_workers=workers, persistent_workers=False, worker_init_fn=None)
    EpochSeedHook().before_train_epoch(
        SimpleNamespace(seed=seed, epoch=epoch, train_dataloader=loader, train_loop=None))

    def draw():
        return random.random(), np.random.rand(), torch.rand(()).item()

    drawn = [draw()]
    for worker in range(workers):
        loader.worker_init_fn(worker)
        drawn.append(draw())
    return drawn


def test_every_epoch_rank_and_worker_has_streams_of_its_own(monkeypatch):
    drawn = [values for seed in (3, 4) for epoch in range(4) for rank in range(4)
             for values in streams(monkeypatch, seed, epoch, rank)]
    assert len(drawn) == 2 * 4 * 4 * 3
    for generator in zip(*drawn, strict=True):
        assert len(set(generator)) == len(drawn)


def test_streams_depend_on_nothing_but_seed_epoch_and_rank(monkeypatch):
    first = streams(monkeypatch, epoch=5, rank=1)
    random.random(), np.random.rand(9), torch.rand(9)
    assert streams(monkeypatch, epoch=5, rank=1) == first


@pytest.mark.parametrize(('loader', 'said'), [
    (dict(num_workers=1, persistent_workers=True), 1), (dict(num_workers=0), 0)])
def test_persistent_workers_are_warned_of_once(toy_runner, monkeypatch, loader, said):
    runner = toy_runner(hooks=[EpochSeedHook()], loader=loader, epochs=2)
    texts = []
    monkeypatch.setattr(runner.logger, 'warning', lambda text, *args: texts.append(text))
    runner.train()
    assert sum('persistent workers' in text for text in texts) == said
