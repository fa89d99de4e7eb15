"""StepSeedHook: streams of each step, other ones in each process, whatever came before."""

import random

import numpy as np
import pytest
import torch
from mmengine.runner import Runner

from amt_mm import random_streams
from amt_mm.random_streams import LOADING, STEP, kept_random_streams, seed_iteration
from amt_mm.reliability import StepSeedHook


def crops_of(runner):
    """Epoch -> sample -> (box, flip)."""
    crops = {}
    for step in runner.recorder.steps:
        crops.setdefault(step['epoch'], {}).update(
            zip(step['sample_idx'], zip(step['crop_box'], step['flip'], strict=True),
                strict=True))
    return crops


@pytest.mark.parametrize('loader', [
    dict(num_workers=0), dict(num_workers=2, persistent_workers=False),
    dict(num_workers=1, persistent_workers=True)], ids=['0', '2', 'persistent'])
def test_each_epoch_has_crops_of_its_own(toy_runner, loader):
    runner = toy_runner(loader=loader, epochs=3)
    runner.train()
    crops = crops_of(runner)
    boxes = [crops[epoch][sample][0] for epoch in range(3) for sample in range(7)]
    assert len(set(boxes)) == 21


@pytest.mark.slow
def test_mmengine_alone_repeats_the_crops(toy_runner):
    """Why samples are seeded here: if this fails one day, it may be needless."""
    # In order, so that each worker meets the same samples again.
    runner = toy_runner(epochs=2, kind=Runner, loader=dict(
        num_workers=1, sampler=dict(type='DefaultSampler', shuffle=False)))
    runner.train()
    crops = crops_of(runner)
    assert crops[0] == crops[1]


@pytest.mark.slow
def test_another_seed_gives_other_crops(toy_runner):
    runs = [toy_runner(f'seed{seed}', epochs=1, seed=seed) for seed in (0, 1)]
    for runner in runs:
        runner.train()
    boxes = [{box for box, _ in crops_of(runner)[0].values()} for runner in runs]
    assert not boxes[0] & boxes[1]


def test_each_step_has_masks_of_its_own(toy_runner):
    runner = toy_runner(loader=dict(batch_size=1), epochs=2)
    runner.train()
    masks = {tuple(step['masked'].flatten().tolist()) for step in runner.recorder.steps}
    assert len(masks) == 14


def draw():
    return random.random(), np.random.rand(), torch.rand(()).item()


def test_every_iteration_rank_and_purpose_has_streams_of_its_own(monkeypatch):
    drawn = []
    for rank in range(4):
        monkeypatch.setattr(random_streams, 'get_rank', lambda rank=rank: rank)
        for counters in [(seed, iteration, purpose) for seed in (3, 4) for iteration in range(4)
                         for purpose in (LOADING, STEP)]:
            seed_iteration(*counters)
            drawn.append(draw())
    for generator in zip(*drawn, strict=True):
        assert len(set(generator)) == len(drawn) == 64


def test_streams_depend_on_nothing_but_the_counters():
    seed_iteration(3, 5, STEP)
    first = draw()
    random.random(), np.random.rand(9), torch.rand(9)
    seed_iteration(3, 5, STEP)
    assert draw() == first


def test_streams_are_given_back_after_an_error_too():
    seed_iteration(3, 5, STEP)
    wanted = draw(), draw()
    seed_iteration(3, 5, STEP)
    first = draw()
    with pytest.raises(ZeroDivisionError), kept_random_streams(gpu=False):
        draw()
        raise ZeroDivisionError
    assert (first, draw()) == wanted


@pytest.mark.parametrize(('kind', 'said'), [(Runner, 1), (None, 0)])
def test_a_loader_without_seeded_samples_is_warned_of_once(toy_runner, monkeypatch, kind, said):
    runner = toy_runner(hooks=[StepSeedHook()], epochs=2, **(dict(kind=kind) if kind else {}))
    texts = []
    monkeypatch.setattr(runner.logger, 'warning', lambda text, *args: texts.append(text))
    runner.train()
    assert sum('not seeded one by one' in text for text in texts) == said
