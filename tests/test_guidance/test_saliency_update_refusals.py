"""SaliencyUpdateHook: settings and maps that it refuses or warns of."""

from pathlib import Path

import pytest
import torch
from guided_runs import warnings_of

from amt_mm.errors import InputError
from amt_mm.guidance import SaliencyUpdateHook
from amt_mm.saliency import SaliencySource


@pytest.mark.parametrize('settings', [
    dict(begin=-1), dict(interval=0), dict(begin=3, end=3), dict(begin=2.5), dict(begin=None),
    dict(interval='40'), dict(interval=None), dict(end=41.5), dict(interval=True)])
def test_an_invalid_schedule_is_refused(settings):
    with pytest.raises(InputError, match='is an invalid schedule'):
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


def test_a_generator_that_uses_no_maps_is_refused(toy_runner, toy_mae):
    model = toy_mae(build=False, data_preprocessor=dict(
        mask_generator=dict(type='amt_mm.RandomMaskGenerator')))
    runner = toy_runner(hooks=[SaliencyUpdateHook(1)], model=model)
    with pytest.raises(InputError, match='RandomMaskGenerator uses no weights'):
        runner.train()
    assert not runner.recorder.steps


def test_a_pipeline_without_a_box_is_refused_before_the_first_epoch(toy_runner, toy_images):
    pipeline = [dict(type='RandomResizedCrop', scale=(40, 56)), dict(type='PackInputs')]
    runner = toy_runner(hooks=[SaliencyUpdateHook(3)], dataset=toy_images(3, pipeline))
    with pytest.raises(InputError, match='RandomResizedCropWithBox'):
        runner.train()
    assert not runner.recorder.steps


def test_epochs_in_a_loop_that_counts_iterations_are_refused(toy_runner):
    """Otherwise no refresh would ever be due, and masks would stay random to the end."""
    runner = toy_runner(hooks=[SaliencyUpdateHook(begin=2)],
                        train_cfg=dict(type='IterBasedTrainLoop', max_iters=4))
    with pytest.raises(InputError, match='by_epoch=False'):
        runner.train()


def test_a_begin_after_the_end_of_training_gives_a_warning(toy_runner, monkeypatch):
    runner = toy_runner(hooks=[SaliencyUpdateHook(begin=1)], epochs=1)
    said = warnings_of(runner, monkeypatch)
    runner.train()
    assert any('masks stay random' in text for text in said)


def test_fallbacks_after_the_last_refresh_give_a_warning(toy_runner, monkeypatch):
    runner = toy_runner(hooks=[SaliencyUpdateHook(begin=0, interval=9, max_flat=1)],
                        epochs=1)
    monkeypatch.setattr(SaliencySource, 'maps', lambda source, vit, images, means: torch.zeros(
        len(images), 35))
    texts = []
    monkeypatch.setattr(runner.logger, 'warning', lambda text, *args: texts.append(text))
    runner.train()
    assert sum(text.startswith('7 crops were masked at random') for text in texts) == 1


@pytest.mark.parametrize(('flat', 'stops'), [(3, False), (4, True)])
def test_a_refresh_of_mostly_flat_maps_stops_before_they_are_used(toy_runner, monkeypatch, flat,
                                                                  stops):
    """Of 7 maps .5 are 3.5; the second refresh is the bad one."""
    def some(source, vit, images, means):
        maps = torch.rand(len(images), 35)
        made.extend(maps)
        if len(made) > 7:
            maps[[len(made) - 7 - len(images) + i < flat for i in range(len(images))]] = 0
        return maps

    made = []
    monkeypatch.setattr(SaliencySource, 'maps', some)
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
