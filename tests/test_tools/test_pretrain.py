"""tools/pretrain.py: from a folder to a checkpoint and what it is worth."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from forked_script import run_script
from mmpretrain.models import VisionTransformer

from amt_mm.config.options import knows
from amt_mm.config.reading import read_config

ROOT = Path(__file__).parents[2]
PRETRAIN = ROOT / 'tools/pretrain.py'
CONFIG = ROOT / 'configs/benchmarks/knn/vit-base-p16_knn_folder.py'


@pytest.fixture
def folder(tmp_path):
    """Seven dark and six light images; the place has an apostrophe and a blank."""
    folder = tmp_path / "it's mine"
    chance = np.random.default_rng(0)
    for name, level, count in (('dark', 60, 7), ('light', 190, 6)):
        for part in ('train', 'val'):
            (folder / part / name).mkdir(parents=True)
            for i in range(count):
                noise = chance.integers(-20, 20, (70 + i, 90, 3))
                image = (level + noise).astype(np.uint8)
                cv2.imwrite(str(folder / part / name / f'{i}.png'), image)
    (folder / 'train/dark/notes.npy').write_bytes(b'none')
    return folder


@pytest.mark.slow
def test_from_a_folder_to_a_checkpoint(folder, tmp_path):
    (folder / 'val/dark/damaged.png').write_bytes(b'')
    command = [PRETRAIN, folder, '--out', tmp_path / 'out', '--epochs', '3', '--cfg-options',
               'default_hooks.logger.interval=1']
    done = run_script(*command, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f'images      {folder}: 13 images to train on, 13 held out, 2 classes' in done.stdout
    assert 'recommended, mini: 3 epochs in batches of 16, less than two minutes' in done.stdout
    assert 'warning: 13 images are few' in done.stderr
    said = done.stdout + done.stderr
    assert '1 file(s) left out' in said and 'to use arrays and DICOM' in said
    found = json.loads((tmp_path / 'out/result.json').read_text())
    assert found['test_images'] == 13
    assert f'recommended: k-NN {found["knn"]:.1f} %, ' in done.stdout
    checkpoint = tmp_path / 'out/epoch_3.pth'
    assert checkpoint.is_file() and f'amt view {checkpoint} ' in done.stdout
    # Evaluation, which reads the damaged file, too, has the option that is printed.
    option = 'overlay.labelled.dataset.skip_unreadable'
    assert f' --cfg-options {option}=True\n' in done.stdout
    assert knows(read_config(CONFIG), option)
    # Nothing is done twice.
    before = checkpoint.stat().st_mtime_ns
    again = run_script(*command, timeout=300)
    assert again.returncode == 0 and checkpoint.stat().st_mtime_ns == before
    # Nor are steps timed.
    assert '3 epochs in batches of 16, finished before\n' in again.stdout
    # Other settings do not overwrite what is there.
    other = run_script(*command[:4], '--epochs', '4')
    assert other.returncode == 2 and 'holds a run of other settings' in other.stderr
    assert 'batches' not in other.stdout


def test_no_such_folder_is_one_line(tmp_path):
    done = run_script(PRETRAIN, tmp_path / 'none')
    assert done.returncode == 2 and done.stderr.endswith('none: no such folder\n')


def test_the_folder_of_images_is_no_place_to_work_in(folder):
    done = run_script(PRETRAIN, '.', cwd=folder)
    assert done.returncode == 2
    assert "results inside the folder of images (.) would count as images: " in done.stderr
    assert not (folder / 'work_dirs').exists()


@pytest.mark.parametrize('options', [['--recipe', 'mae', '--pretrained', 'a.pth'],
                                     ['--recipe', 'continue']])
def test_a_given_encoder_has_a_recipe_of_its_own(folder, options):
    done = run_script(PRETRAIN, folder, *options)
    assert done.returncode == 2
    assert 'error: --pretrained FILE goes with --recipe continue' in done.stderr


def test_the_size_is_that_of_the_given_encoder(folder):
    done = run_script(PRETRAIN, folder, '--pretrained', 'a.pth', '--size', 'small')
    assert done.returncode == 2
    assert done.stderr.endswith('--size is that of the encoder of --pretrained\n')


@pytest.mark.slow
def test_from_an_encoder_to_a_better_one(folder, tmp_path):
    vit = VisionTransformer('deit-tiny', img_size=64, patch_size=8)
    state = {f'backbone.{name}': value for name, value in vit.state_dict().items()}
    torch.save({'state_dict': state}, tmp_path / 'start.pth')
    done = run_script(PRETRAIN, folder, '--pretrained', tmp_path / 'start.pth', '--epochs', '1',
                      '--out', tmp_path / 'out', timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f'continue, {tmp_path}/start.pth: 1 epoch in batches of 16' in done.stdout
    assert 'against start.pth' in done.stdout
    trained = torch.load(tmp_path / 'out/epoch_1.pth', weights_only=False)['state_dict']
    name = 'backbone.layers.0.attn.qkv.weight'
    # One step at the lowest rate of a warm-up changes little.
    assert 0 < (trained[name] - state[name]).abs().max() < 1e-3
