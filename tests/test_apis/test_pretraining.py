"""Recipes on a folder: what is looked at, and what follows from the number of images."""

import shutil

import cv2
import numpy as np
import pytest
import torch
from mmpretrain.models import VisionTransformer

from amt_mm.apis import pretraining
from amt_mm.apis.comparison import check_claim_with_images, claim_with_images
from amt_mm.apis.judging import build_model
from amt_mm.apis.step_times import step_times
from amt_mm.errors import InputError
from amt_mm.saliency import SaliencyWriter


@pytest.fixture
def folder(tmp_path):
    """Seven images in two classes; the place has an apostrophe and a blank."""
    folder = tmp_path / "it's mine"
    chance = np.random.default_rng(0)
    for name, count in (('cat', 4), ('dog', 3)):
        for part in ('train', 'val'):
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                cv2.imwrite(str(folder / part / name / f'{i}.png'),
                            chance.integers(0, 255, (70 + i, 90, 3), np.uint8))
    return folder


@pytest.mark.slow
def test_what_there_is_to_learn_from(folder):
    found = pretraining.look_at_images(pretraining.base_config(folder))
    assert (found.training, found.held_out, found.classes) == (7, 7, ('cat', 'dog'))
    few, rare = found.advice
    assert few.startswith('7 images are few') and rare.startswith('2 of 2 classes have fewer than')
    assert str(found) == f'{folder}: 7 images to train on, 7 held out, 2 classes'


@pytest.mark.slow
def test_one_folder_of_images_is_no_class(folder):
    found = pretraining.look_at_images(pretraining.base_config(folder / 'train' / 'cat'))
    assert found.classes is None and 'no accuracy' in found.advice[1]
    (folder / 'holidays').mkdir()
    (folder / 'train').rename(folder / 'holidays' / 'summer')
    # cat and dog lie below the only folder, which is no class of anything.
    found = pretraining.look_at_images(pretraining.base_config(folder / 'holidays'))
    assert found.classes is None


@pytest.mark.slow
def test_unlabelled_takes_all_images_whatever_their_folders(folder):
    shutil.copy(folder / 'train/cat/0.png', folder / 'loose.png')
    base = pretraining.base_config(folder, unlabelled=True)
    found = pretraining.look_at_images(base)
    assert (found.training, found.held_out, found.classes) == (15, 0, None)
    assert not any('--unlabelled' in line for line in found.advice)
    shutil.rmtree(folder / 'val')
    with pytest.raises(InputError, match='amt pretrain FOLDER --unlabelled'):
        pretraining.look_at_images(pretraining.base_config(folder))
    flat = pretraining.look_at_images(pretraining.base_config(folder / 'train/cat'))
    assert any('--unlabelled trains on the images held out, too' in line for line in flat.advice)


def test_no_such_folder(tmp_path):
    with pytest.raises(InputError, match='none: no such folder'):
        pretraining.base_config(tmp_path / 'none')


@pytest.mark.slow
def test_batch_rate_schedule_and_guidance_follow_from_the_images(folder):
    base = pretraining.base_config(folder)
    before = base.pretty_text
    cfg = pretraining.put_recipe(base, 'amt', 7, crops=7 * 40)
    assert base.pretty_text == before
    assert (cfg.train_cfg.max_epochs, cfg.train_dataloader.batch_size) == (40, 16)
    hook, = cfg.custom_hooks
    assert (hook.begin, hook.interval) == (10, 10)
    assert cfg.param_scheduler[-1].end == 40
    # An epoch number by option moves all of it, too; other options win.
    cfg = pretraining.put_recipe(base, 'amt', 7, {
        'train_cfg.max_epochs': 2, 'overlay.hooks.saliency.interval': 3})
    hook, = cfg.custom_hooks
    assert (hook.begin, hook.interval) == (1, 3)
    assert cfg.param_scheduler[-1].end == cfg.train_cfg.max_epochs == 2


def test_options_go_to_the_recipes_that_have_them(folder):
    base = pretraining.base_config(folder)
    options = {'overlay.hooks.saliency.interval': 5, 'optim_wrapper.optimizer.lr': 1e-3}
    assert pretraining.own_options(base, 'amt', options) == options
    assert list(pretraining.own_options(base, 'mae', options)) == ['optim_wrapper.optimizer.lr']
    with pytest.raises(InputError, match='optim_wraper'):
        pretraining.put_recipe(base, 'mae', 7, {'optim_wraper.optimizer.lr': 1})


@pytest.mark.slow
@pytest.mark.parametrize(('size', 'width', 'grid'), [('small', 384, (14, 14)),
                                                     ('base', 768, (14, 14))])
def test_larger_sizes(folder, size, width, grid):
    cfg = pretraining.put_recipe(pretraining.base_config(folder, size), 'recommended', 7)
    crop = next(t for t in cfg.train_dataloader.dataset.pipeline if 'Crop' in t['type'])
    assert crop['scale'] == 224
    resize = next(t for t in cfg.probe.train.pipeline if t['type'] == 'Resize')
    assert tuple(resize['scale']) == (224, 224)
    model = build_model(cfg)
    assert (model.backbone.embed_dims, tuple(model.backbone.grid)) == (width, grid)
    assert model.neck.decoder_embed.in_features == 3 * width


@pytest.mark.slow
def test_steps_are_timed_in_turn_and_with_maps(folder, tmp_path, monkeypatch):
    base = pretraining.base_config(folder)
    configs = {recipe: pretraining.put_recipe(base, recipe, 7, {'train_dataloader.batch_size': 3})
               for recipe in ('mae', 'amt')}
    writer = SaliencyWriter(tmp_path / 'a.amtmap', 7, (8, 8), fingerprint='x')
    writer.write(torch.arange(7), torch.rand(7, 64))
    clock = iter(range(100))  # a second between any two looks at it
    monkeypatch.setattr('time.perf_counter', lambda: next(clock))
    assert step_times(configs, {'amt': writer.commit()}, rounds=2) == {'mae': 1, 'amt': 1}


def test_minutes_become_crops_once(folder, tmp_path, monkeypatch):
    cfg = pretraining.put_recipe(pretraining.base_config(folder), 'mae', 7)
    monkeypatch.setattr(pretraining, 'step_times', lambda configs: dict.fromkeys(configs, .5))
    assert pretraining.crops_in(2, cfg, tmp_path / 'out') == 120 / .5 * 16
    # The same command again, while the machine is busier.
    monkeypatch.setattr(pretraining, 'step_times', lambda configs: dict.fromkeys(configs, 5))
    assert pretraining.crops_in(2, cfg, tmp_path / 'out') == 120 / .5 * 16
    assert pretraining.crops_in(3, cfg, tmp_path / 'out') == 180 / 5 * 16
    for damaged in '0', '"a"', '[1]':
        next((tmp_path / 'out').glob('crops_in_3_*.json')).write_text(damaged)
        with pytest.raises(InputError, match='is no number of crops: remove it'):
            pretraining.crops_in(3, cfg, tmp_path / 'out')
    # Another transformer, in the same folder.
    cfg.model.backbone.patch_size = 16
    assert pretraining.crops_in(2, cfg, tmp_path / 'out') == 120 / 5 * 16


@pytest.mark.slow
def test_results_images_and_checkpoint_may_move(folder, tmp_path, monkeypatch):
    def save(path, number):
        with torch.device('meta'):
            state = VisionTransformer('deit-tiny', img_size=64, patch_size=8).state_dict()
        torch.save({f'backbone.{name}': torch.full(value.shape, number)
                    for name, value in state.items()}, path)
        return path

    def config(out, folder, start, **options):
        base = pretraining.base_config(folder, pretrained=start, reduced=out / pretraining.REDUCED)
        return pretraining.put_recipe(base, 'continue', 7, options)

    a, b, start = tmp_path / 'a', tmp_path / 'b', save(tmp_path / 'start.pth', 0.)
    first = config(a, folder, start)
    monkeypatch.setattr(pretraining, 'step_times', lambda configs: dict.fromkeys(configs, .5))
    pretraining.crops_in(2, first, a)
    claim_with_images(first, a)
    shutil.copytree(a, b)
    assert check_claim_with_images(config(b, folder, start), b) is True
    # Other images may have files of the same names and sizes.
    others = [config(b, shutil.copytree(folder, tmp_path / 'other'), start),
              config(b, folder, save(tmp_path / 'other.pth', 1.)),
              config(b, folder, start, **{'optim_wrapper.optimizer.lr': 1.})]
    for other in others:
        with pytest.raises(InputError, match='b holds a run of other settings or images'):
            check_claim_with_images(other, b)
    moved = config(b, folder.rename(tmp_path / 'moved'), start.rename(tmp_path / 'moved.pth'))
    assert check_claim_with_images(moved, b) is True
    settings = claim_with_images(moved, b).read_text()
    # Training reads this file.
    for place in 'moved', 'moved.pth', 'b/reduced_images':
        assert f"'{tmp_path / place}'" in settings
    assert f"'{tmp_path / 'a'}" not in settings
    monkeypatch.setattr(pretraining, 'step_times', lambda configs: dict.fromkeys(configs, 5))
    assert pretraining.crops_in(2, moved, b) == 120 / .5 * 16


@pytest.mark.slow
def test_a_class_without_training_images_is_refused_at_once(folder):
    for image in (folder / 'train/dog').iterdir():
        image.unlink()
    with pytest.raises(InputError, match='dog'):
        pretraining.look_at_images(pretraining.base_config(folder))
