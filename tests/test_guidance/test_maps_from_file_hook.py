"""MapsFromFileHook: crops see their part of the given map, from the given epoch on."""

from pathlib import Path

import numpy as np
import pytest
import torch
from guided_runs import GUIDED, WARMUP, counts, maps_of, states
from PIL import Image
from threaded_ranks import ThreadedRanks

from amt_mm import distributed
from amt_mm.datasets import dataset_fingerprint
from amt_mm.errors import InputError
from amt_mm.guidance import (
    MapsFromFileHook,
    SaliencyUpdateHook,
    map_reference,
    maps_from_file_hook,
)
from amt_mm.models import AMTDataPreprocessor
from amt_mm.reliability import StepSeedHook

# Sub-folders, and a name that only a subfolder distinguishes.
FILES = ['a/x.png', 'a/y.png', 'b/deep/x.png', 'b/z.png', 'x.png']


@pytest.fixture
def folder(tmp_path):
    """A data set of images of different sizes."""
    chance = np.random.default_rng(0)
    for row, name in enumerate(FILES):
        path = tmp_path / 'images' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(chance.integers(0, 256, (44 + 5 * row, 71 - 3 * row, 3), np.uint8)
                        ).save(path)
    pipeline = [dict(type='amt_mm.LoadImage'),
                dict(type='amt_mm.RandomResizedCropWithBox', scale=(40, 56),
                     crop_ratio_range=(.2, .7)),
                dict(type='RandomFlip', prob=[.3, .2, .2],
                     direction=['horizontal', 'vertical', 'diagonal']),
                dict(type='amt_mm.PackInputsWithBox')]
    return dict(type='amt_mm.ImageFolder', data_root=str(tmp_path / 'images'), with_label=False,
                pipeline=pipeline)


def given(tmp_path, shape=(11, 6), seed=3):
    """One map a file, whose smallest value is 0 and largest 1, in a file in another order."""
    maps = np.random.default_rng(seed).random((len(FILES), *shape)).astype(np.float16)
    maps[:, 0, 0], maps[:, -1, -1] = 0, 1
    order = np.random.default_rng(1).permutation(len(FILES))
    np.savez(tmp_path / 'maps.npz', names=np.array(FILES)[order], maps=maps[order])
    return dict(zip(FILES, maps.astype(float), strict=True))


def slow_weights(values, box, flip, grid, points=24):
    """Mean over each patch of a crop, point by point of the bilinear map."""
    height, width = values.shape

    def at(x, y):
        x, y = np.clip(x * width - .5, 0, width - 1), np.clip(y * height - .5, 0, height - 1)
        left, top = min(int(x), width - 2), min(int(y), height - 2)
        x, y = x - left, y - top
        return ((1 - y) * ((1 - x) * values[top, left] + x * values[top, left + 1])
                + y * ((1 - x) * values[top + 1, left] + x * values[top + 1, left + 1]))

    out = np.zeros(grid)
    for row in range(grid[0]):
        for column in range(grid[1]):
            for i in range(points):
                for j in range(points):
                    y, x = (row + (i + .5) / points) / grid[0], (column + (j + .5) / points
                                                                 ) / grid[1]
                    # A flipped crop shows at x what the crop has at 1 - x.
                    x = 1 - x if flip in ('horizontal', 'diagonal') else x
                    y = 1 - y if flip in ('vertical', 'diagonal') else y
                    out[row, column] += at(box[0] + x * (box[2] - box[0]),
                                           box[1] + y * (box[3] - box[1]))
    return out / points**2


@pytest.mark.slow
@pytest.mark.parametrize('form', ['npz', 'folder'])
def test_crops_see_their_part_of_the_map(toy_runner, folder, tmp_path, monkeypatch, form):
    wanted = given(tmp_path)
    path, settings = tmp_path / 'maps.npz', {}
    if form == 'folder':
        path, settings = tmp_path / 'grey', dict(grid=(11, 6))
        for name, each in wanted.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            wanted[name] = (each * 255).round() / 255
            Image.fromarray((each * 255).round().astype(np.uint8)).save(path / name)
    seen = []
    look_up = AMTDataPreprocessor.look_up_weights

    def spy(self, samples, grid):
        weights = look_up(self, samples, grid)
        seen.extend((Path(sample.img_path).relative_to(tmp_path / 'images').as_posix(),
                     sample.crop_box, sample.get('flip_direction'), row)
                    for sample, row in zip(samples, weights, strict=True))
        return weights

    monkeypatch.setattr(AMTDataPreprocessor, 'look_up_weights', spy)
    runner = toy_runner(hooks=[StepSeedHook(), MapsFromFileHook(path, **settings)], dataset=folder,
                        epochs=2)
    runner.train()
    assert {name for name, *_ in seen} == set(FILES)
    assert len({flip for _, _, flip, _ in seen}) > 2
    for name, box, flip, weights in seen:
        slow = slow_weights(wanted[name], box, flip, (5, 7))
        np.testing.assert_allclose(weights.view(5, 7), slow, atol=2e-3)
    assert all(counts(step) == GUIDED for step in runner.recorder.steps)


@pytest.mark.parametrize('begin', [0, 2, 9])
def test_masks_are_random_before_the_given_epoch(toy_runner, folder, tmp_path, begin):
    given(tmp_path)
    runner = toy_runner(hooks=[MapsFromFileHook(tmp_path / 'maps.npz', begin)], dataset=folder)
    runner.train()
    for step in runner.recorder.steps:
        assert counts(step) == (GUIDED if step['epoch'] >= begin else WARMUP)


def test_iterations_count_if_the_hook_says_so(toy_runner, folder, tmp_path):
    given(tmp_path)
    runner = toy_runner(hooks=[MapsFromFileHook(tmp_path / 'maps.npz', 3, by_epoch=False)],
                        dataset=folder, epochs=3)
    runner.train()
    assert [counts(step) == GUIDED for step in runner.recorder.steps] == [False] * 3 + [True] * 3


@pytest.mark.parametrize(('form', 'grid', 'found'), [
    ('stack', None, (11, 6)), ('stack', (4, 3), (4, 3)), ('each', None, (5, 7))])
def test_the_grid_of_the_copy(toy_runner, folder, tmp_path, form, grid, found):
    maps = given(tmp_path)
    if form == 'each':
        np.savez(tmp_path / 'maps.npz', **{name: each[:, :2 + row]
                                           for row, (name, each) in enumerate(maps.items())})
    runner = toy_runner(hooks=[MapsFromFileHook(tmp_path / 'maps.npz', grid=grid)], dataset=folder,
                        epochs=1)
    runner.train()
    assert runner.model.data_preprocessor.store.grid == found


def test_flat_maps_are_masked_at_random_and_counted(toy_runner, folder, tmp_path, monkeypatch):
    maps = given(tmp_path)
    maps['a/y.png'][:] = .5
    np.savez(tmp_path / 'maps.npz', **maps)
    runner = toy_runner(hooks=[MapsFromFileHook(tmp_path / 'maps.npz')], dataset=folder, epochs=1)
    said = []
    for level in ('info', 'warning'):
        monkeypatch.setattr(runner.logger, level, lambda text, *args: said.append(text))
    runner.train()
    assert any('5 maps of 5x7 cells' in text and '1 flat' in text for text in said)
    assert any('1 crops were masked at random' in text for text in said)


@pytest.mark.slow
@pytest.mark.parametrize('start', [1, 2, 3])
def test_a_resumed_run_equals_an_uninterrupted_one(toy_runner, folder, tmp_path, start):
    """Before, at and after the first guided epoch; the file is not needed again."""
    given(tmp_path)

    def hooks():
        return [StepSeedHook(), MapsFromFileHook(tmp_path / 'maps.npz', begin=2)]

    whole = toy_runner('whole', hooks(), folder, epochs=4)
    whole.train()
    (tmp_path / 'maps.npz').unlink()
    resumed = toy_runner('resumed', hooks(), folder, epochs=4, resume=True,
                         load_from=f'{whole.work_dir}/epoch_{start}.pth')
    resumed.train()
    steps = whole.recorder.steps[start * 2:]
    assert len(steps) == len(resumed.recorder.steps)
    for step, wanted in zip(resumed.recorder.steps, steps, strict=True):
        assert torch.equal(step['masked'], wanted['masked'])
    for name, value in states(whole.model).items():
        assert torch.equal(states(resumed.model)[name], value), name


@pytest.mark.slow
def test_maps_of_attention_are_replaced_on_resume_and_load_from_restores_none(
        toy_runner, folder, tmp_path):
    given(tmp_path)
    guided = toy_runner('guided', [SaliencyUpdateHook(0, 9)], folder, epochs=1)
    guided.train()
    runner = toy_runner('guided', [MapsFromFileHook(tmp_path / 'maps.npz')], folder, epochs=2,
                        resume=True)
    runner.train()
    assert runner.model.data_preprocessor.store.path.name == 'given_0.amtmap'
    given(tmp_path, seed=4)
    new = toy_runner('new', [MapsFromFileHook(tmp_path / 'maps.npz')], folder, epochs=1,
                     load_from=f'{runner.work_dir}/epoch_2.pth')
    new.train()
    folders = [Path(each.work_dir) / 'saliency' / 'given_0.amtmap' for each in (runner, new)]
    assert not torch.equal(*map(maps_of, folders))


@pytest.mark.slow
def test_a_changed_copy_is_refused_on_resume(toy_runner, folder, tmp_path):
    given(tmp_path)
    runner = toy_runner('run', [MapsFromFileHook(tmp_path / 'maps.npz')], folder, epochs=1)
    runner.train()
    path = runner.model.data_preprocessor.store.path
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match='given_0.amtmap: the maps of samples 0 to 4 are damaged'):
        toy_runner('run', [MapsFromFileHook(tmp_path / 'maps.npz')], folder, epochs=2, resume=True,
                   load_from=f'{runner.work_dir}/epoch_1.pth').train()


def test_processes_share_the_reading(toy_runner, folder, tmp_path, monkeypatch):
    """3 processes, 5 images, 2 between exchanges: shares of one, two and no image."""
    monkeypatch.setattr(maps_from_file_hook, '_ROWS', 2)
    monkeypatch.setattr(maps_from_file_hook, 'get_world_size', lambda: 3)
    ranks = ThreadedRanks(monkeypatch, maps_from_file_hook, map_reference, distributed)
    wanted = given(tmp_path)
    runner = toy_runner(dataset=folder)
    dataset = runner.train_dataloader.dataset

    def copy(rank):
        hook = MapsFromFileHook(tmp_path / 'maps.npz')
        return hook._copy(runner, dataset, dataset_fingerprint(dataset))

    stores = ranks(3, copy)
    for store in stores:
        np.testing.assert_allclose(store.lookup(torch.arange(5)),
                                   np.stack([wanted[name] for name in FILES]), atol=1e-3)
    content = dict(np.load(tmp_path / 'maps.npz'))
    content['maps'][list(content['names']).index('a/y.png'), 1, 1] = np.nan
    np.savez(tmp_path / 'maps.npz', **content)
    for error in ranks(3, copy):
        assert isinstance(error, InputError) and 'a/y.png has values that are' in str(error)
    assert not list(Path(runner.work_dir).glob('saliency/*.tmp'))


@pytest.mark.parametrize(('settings', 'message'), [
    (dict(path=None), 'has no path'), (dict(path='x', begin=-1), 'begin=-1'),
    (dict(path='x', grid=3.), 'grid=3.0'), (dict(path='x', grid=(3, 0)), 'grid=')])
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        MapsFromFileHook(**settings)


@pytest.mark.slow
def test_a_run_that_cannot_use_the_maps_does_not_start(toy_runner, folder, tmp_path):
    given(tmp_path)
    path = tmp_path / 'maps.npz'
    with pytest.raises(InputError, match='5 training images have no map: .*x.png'):
        toy_runner(hooks=[MapsFromFileHook(path, begin=3, below='train')], dataset=folder).train()
    with pytest.raises(InputError, match='both guide'):
        toy_runner(hooks=[MapsFromFileHook(path), SaliencyUpdateHook(1)], dataset=folder).train()
    plain = {**folder, 'pipeline': [dict(type='amt_mm.LoadImage'),
                                    dict(type='RandomResizedCrop', scale=(56, 40)),
                                    dict(type='PackInputs')]}
    with pytest.raises(InputError, match='RandomResizedCropWithBox'):
        toy_runner(hooks=[MapsFromFileHook(path)], dataset=plain).train()
