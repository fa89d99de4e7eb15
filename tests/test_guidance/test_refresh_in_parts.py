"""A refresh of one part of the maps: which, what the others keep, and what resuming does."""

import json
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torchrun import in_two_real_processes

from amt_mm.errors import InputError
from amt_mm.guidance import SaliencyUpdateHook
from amt_mm.reliability import StepSeedHook
from amt_mm.saliency import SaliencyStore, cls_saliency

# 7 samples in 3 parts: the samples renewed before epochs 1, 2, ...
ROTATION = {1: range(7), 2: (0, 3, 6), 3: (1, 4), 4: (2, 5), 5: (0, 3, 6), 6: (1, 4)}
FAST = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=0.05))


class Watch(Hook):
    """All maps as they would be now, before each epoch."""

    priority = 'HIGH'

    def __init__(self, view):
        self.view, self.maps = view, {}

    def before_train_epoch(self, runner):
        images = [self.view(runner)[i]['inputs'] for i in range(7)]
        with torch.no_grad():
            inputs = runner.model.data_preprocessor(
                dict(inputs=torch.stack(images), data_samples=None))['inputs']
            self.maps[runner.epoch] = cls_saliency(runner.model.backbone, inputs)


def stored(folder, epoch):
    store = SaliencyStore(Path(folder) / 'saliency' / f'epoch_{epoch}.amtmap')
    return store.lookup(torch.arange(store.num_samples)).flatten(1)


def warnings_of(runner, monkeypatch):
    said = []
    monkeypatch.setattr(runner.logger, 'warning', lambda text, *args: said.append(text))
    return said


def test_parts_are_refreshed_in_turn_and_the_others_kept(toy_runner):
    hook = SaliencyUpdateHook(1, 1, parts=3)
    watch = Watch(lambda runner: hook.settings.view(runner.train_dataloader.dataset))
    runner = toy_runner(hooks=[watch, hook], epochs=7, optim_wrapper=FAST)
    runner.train()
    before = None
    for epoch, renewed in ROTATION.items():
        assert tuple(hook.rows(epoch, 7)) == tuple(renewed)
        maps = stored(runner.work_dir, epoch)
        for sample in range(7):
            if sample in renewed:
                torch.testing.assert_close(maps[sample], watch.maps[epoch][sample], rtol=0,
                                           atol=1e-3)
                if before is not None:
                    assert (maps[sample] - before[sample]).abs().max() > .01
            else:
                assert torch.equal(maps[sample], before[sample]), (epoch, sample)
        before = maps
    assert {step['epoch']: step['map_step'] for step in runner.recorder.steps} == {
        0: None, **{epoch: epoch for epoch in range(1, 7)}}


def test_the_rotation_follows_begin_and_interval():
    hook = SaliencyUpdateHook(40, 20, parts=2)
    assert [hook.rows(step, 5) for step in (40, 60, 80, 100)] == [
        range(5), range(0, 5, 2), range(1, 5, 2), range(0, 5, 2)]


@pytest.mark.slow
@pytest.mark.parametrize('start', [1, 2, 3, 4])
def test_a_resumed_run_continues_the_rotation(toy_runner, start):
    def run(work_dir, **changes):
        runner = toy_runner(work_dir, [StepSeedHook(), SaliencyUpdateHook(1, 1, parts=3)],
                            epochs=6, **changes)
        runner.train()
        return runner

    whole = run('whole')
    resumed = run('resumed', resume=True, load_from=f'{whole.work_dir}/epoch_{start}.pth')
    for name, value in whole.model.state_dict().items():
        assert torch.equal(resumed.model.state_dict()[name], value), name
    files = sorted((Path(resumed.work_dir) / 'saliency').iterdir())
    assert files[-1].name == 'epoch_5.amtmap'
    for file in files:
        assert file.read_bytes() == (Path(whole.work_dir) / 'saliency' / file.name).read_bytes()


def test_without_previous_maps_all_are_computed(toy_runner):
    """A plain checkpoint is resumed into guidance, off the schedule: no maps to keep."""
    toy_runner('run', [StepSeedHook()], epochs=4).train()
    hook = SaliencyUpdateHook(1, 2, parts=2)
    runner = toy_runner('run', [StepSeedHook(), hook], epochs=7, resume=True)
    runner.train()
    assert [step['map_step'] for step in runner.recorder.steps[::3]] == [4, 5, 5]
    changed = [(a != b).any() for a, b in zip(stored(runner.work_dir, 4),
                                              stored(runner.work_dir, 5), strict=True)]
    assert changed == [sample in hook.rows(5, 7) for sample in range(7)]


def test_maps_of_another_grid_are_all_refreshed_with_a_warning(toy_runner, monkeypatch):
    toy_runner('run', [StepSeedHook(), SaliencyUpdateHook(1, 1)], epochs=2).train()
    runner = toy_runner('run', [StepSeedHook(), SaliencyUpdateHook(
        1, 1, parts=2, image_size=(24, 40))], epochs=4, resume=True)
    said = warnings_of(runner, monkeypatch)
    runner.train()
    assert sum('5x7 cells, those of this refresh 3x5: all are refreshed' in text
               for text in said) == 1
    assert stored(runner.work_dir, 2).shape == (7, 15)
    same = (stored(runner.work_dir, 2) == stored(runner.work_dir, 3)).all(dim=1)
    assert same.tolist() == [True, False] * 3 + [True]


def test_maps_of_another_type_are_kept_in_the_new_one(toy_runner):
    toy_runner('run', [StepSeedHook(), SaliencyUpdateHook(1, 1)], epochs=2).train()
    runner = toy_runner('run', [StepSeedHook(), SaliencyUpdateHook(1, 1, parts=2, dtype='uint8')],
                        epochs=3, resume=True)
    runner.train()
    change = (stored(runner.work_dir, 1) - stored(runner.work_dir, 2)).abs().amax(dim=1)
    assert (change[1::2] < 1 / 500).all() and (change[0::2] > 1 / 500).all()


@pytest.mark.parametrize(('settings', 'epochs', 'told'), [
    (dict(begin=1, interval=1, parts=3), 5, None),
    (dict(begin=1, interval=1, parts=3), 4, '2 refreshes follow the first, so 1 of 3 parts'),
    (dict(begin=1, interval=1, end=2, parts=2), 4, '0 refreshes follow the first, so 2 of 2'),
    (dict(begin=2, interval=9, parts=1), 4, None)])
def test_parts_never_refreshed_give_a_warning(toy_runner, monkeypatch, settings, epochs, told):
    runner = toy_runner(hooks=[SaliencyUpdateHook(**settings)], epochs=epochs, kind=Runner)
    said = warnings_of(runner, monkeypatch)
    runner.call_hook('before_train')
    said = [text for text in said if 'parts' in text]
    assert len(said) == (told is not None) and all(told in text for text in said)


def test_more_parts_than_samples_are_refused_at_the_start(toy_runner):
    with pytest.raises(InputError, match='parts=8.* only 7 samples'):
        toy_runner(hooks=[SaliencyUpdateHook(1, parts=8)]).train()


@pytest.mark.slow
def test_two_processes_refresh_the_part_that_one_refreshes(toy_runner, tmp_path):
    """Parts of 4 and 3 samples: the smaller one is padded for the second process."""
    settings = dict(begin=0, interval=1, parts=2, image_size=[24, 40], dtype='uint8', batch_size=1)
    one = toy_runner('one', [SaliencyUpdateHook(**settings)], epochs=3,
                     optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.)))
    one.train()
    script = Path(__file__).parent / 'two_processes.py'
    in_two_real_processes(script, tmp_path / 'two',
                          json.dumps(dict(hook=settings, epochs=3, lr=0.)))
    for epoch in range(3):
        found, wanted = (stored(folder, epoch) for folder in (tmp_path / 'two', one.work_dir))
        assert found.shape == (7, 15)
        # A step of 1/255 at most: other processes round otherwise.
        torch.testing.assert_close(found, wanted, rtol=0, atol=1.01 / 255)
