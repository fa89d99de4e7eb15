"""Training on a folder with bad images: replaced, listed, counted, stopped past a limit."""

import re

import numpy as np
import pytest
import torch
from bad_files import BAD, write_folder

from amt_mm.datasets import ImageFolder, ReplaceBadImages, StagedDataset
from amt_mm.engine import OverlayRunner
from amt_mm.errors import InputError
from amt_mm.guidance import SaliencyUpdateHook
from amt_mm.reliability import BadImagesHook

PIPELINE = [dict(type='amt_mm.ReadImage'),
            dict(type='amt_mm.DecodeRandomResizedCrop', scale=(40, 56)),
            dict(type='RandomFlip', prob=.5), dict(type='amt_mm.PackInputsWithBox')]


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / 'images', good=5, bad=['empty.jpg', 'half.png'])


def images_of(folder):
    return ImageFolder(str(folder), pipeline=PIPELINE, serialize_data=False)


def trained(toy_runner, folder, work_dir='run', workers=0, staged=False, max_bad=.5, **kwargs):
    dataset = images_of(folder)
    runner = toy_runner(work_dir, kind=OverlayRunner, loader=dict(num_workers=workers),
                        dataset=StagedDataset(dataset) if staged else dataset,
                        **{'default_hooks': dict(bad_images=dict(max_bad=max_bad)), **kwargs})
    runner.train()
    return runner


def seen(runner):
    return [sample for step in runner.recorder.steps for sample in step['sample_idx']]


@pytest.mark.slow
@pytest.mark.parametrize('workers', [0, 2])
@pytest.mark.parametrize('staged', [False, True])
def test_a_guided_run_goes_on_and_its_maps_are_those_of_what_is_seen(
        toy_runner, folder, tmp_path, workers, staged):
    runner = trained(toy_runner, folder, workers=workers, staged=staged, epochs=3,
                     hooks=[SaliencyUpdateHook(begin=1, interval=1)])
    lines = (tmp_path / 'run/bad_images_rank0.txt').read_text().splitlines()
    bad = sorted(int(line.split('\t')[0]) for line in lines)
    assert len(bad) == 2 and len(seen(runner)) == 21
    assert not set(seen(runner)) & set(bad)
    store = runner.model.data_preprocessor.store
    maps = store.lookup(torch.arange(7))
    assert (maps[bad] == 0).all()
    assert (maps[[index for index in range(7) if index not in bad]].amax(dim=1) > 0).all()
    assert re.search(r'2 of 7 images are unreadable so far .*the limit is 3',
                     next(tmp_path.glob('run/*/*.log')).read_text())


def test_past_the_limit_the_run_stops(toy_runner, folder):
    with pytest.raises(InputError, match='1 of 7 images are unreadable, more than max_bad=0.01'):
        trained(toy_runner, folder, max_bad=.01)


def test_a_worker_that_passes_the_limit_stops_the_run(toy_runner, folder):
    with pytest.raises(InputError) as error:
        trained(toy_runner, folder, max_bad=.01, workers=1)
    assert '1 of 7 images are unreadable' in str(error.value).splitlines()[-1]


def test_the_next_run_is_refused_at_its_start(toy_runner, folder, tmp_path):
    trained(toy_runner, folder, epochs=1)
    with pytest.raises(InputError, match='2 of 7 images'):
        trained(toy_runner, folder, max_bad=.2)


def test_without_the_hook_a_bad_image_stops_the_run(toy_runner, folder):
    with pytest.raises(InputError, match=r'(empty\.jpg|half\.png): unreadable image'):
        trained(toy_runner, folder, default_hooks=dict(bad_images=None))


def test_a_sound_folder_is_trained_on_as_without(toy_runner, tmp_path):
    folder = write_folder(tmp_path / 'images', good=7)
    boxes = []
    for name, hooks in (('with', {}), ('without', dict(bad_images=None))):
        runner = trained(toy_runner, folder, name, default_hooks=hooks, epochs=2)
        boxes.append([step['crop_box'] for step in runner.recorder.steps])
        assert isinstance(runner.train_dataloader.dataset, ReplaceBadImages) == (name == 'with')
    np.testing.assert_array_equal(np.concatenate(boxes[0]), np.concatenate(boxes[1]))
    assert not list(tmp_path.glob('*/bad_images*'))


@pytest.mark.parametrize('workers', [0, 1])
@pytest.mark.parametrize('given', [{}, dict(timeout=7)])
def test_waiting_for_a_worker_has_an_end(toy_runner, tmp_path, workers, given):
    folder = write_folder(tmp_path / 'images', good=3)
    if not workers and given:
        return
    runner = toy_runner(kind=OverlayRunner, dataset=images_of(folder),
                        loader=dict(num_workers=workers, **given))
    runner.train_loop  # noqa: B018  built when it is asked for
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    assert runner.train_dataloader.timeout == (given.get('timeout', 600) if workers else 0)


def test_no_share():
    with pytest.raises(InputError, match='max_bad=2'):
        BadImagesHook(max_bad=2)


def test_every_kind(toy_runner, tmp_path):
    folder = write_folder(tmp_path / 'images', good=20, bad=list(BAD))
    trained(toy_runner, folder, epochs=1)
    assert len((tmp_path / 'run/bad_images_rank0.txt').read_text().splitlines()) == len(BAD)


@pytest.mark.slow
@pytest.mark.parametrize('staged', [False, True])
@pytest.mark.parametrize('keep_list', [False, True])
def test_a_resumed_run_equals_an_unbroken_one(toy_runner, folder, tmp_path, staged, keep_list):
    hooks = dict(bad_images=dict(max_bad=.5), checkpoint=dict(interval=1))
    whole = trained(toy_runner, folder, 'whole', staged=staged, default_hooks=hooks, epochs=3)
    if keep_list:
        (tmp_path / 'rest').mkdir()
        (tmp_path / 'whole/bad_images_rank0.txt').rename(tmp_path / 'rest/bad_images_rank0.txt')
    rest = trained(toy_runner, folder, 'rest', staged=staged, workers=2, default_hooks=hooks,
                   epochs=3, resume=True, load_from=str(tmp_path / 'whole/epoch_1.pth'))
    assert len(rest.recorder.steps) == 6
    for step, again in zip(whole.recorder.steps[3:], rest.recorder.steps, strict=True):
        assert step['sample_idx'] == again['sample_idx']
        np.testing.assert_array_equal(step['crop_box'], again['crop_box'])
    for one, other in zip(whole.model.parameters(), rest.model.parameters(), strict=True):
        assert torch.equal(one, other)
    assert len((tmp_path / 'rest/bad_images_rank0.txt').read_text().splitlines()) == 2
