"""tools/pretrain.py: from a folder to a checkpoint and what it is worth."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from forked_script import run_script

PRETRAIN = Path(__file__).parents[2] / 'tools/pretrain.py'


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
    # Nothing is done twice.
    before = checkpoint.stat().st_mtime_ns
    again = run_script(*command, timeout=300)
    assert again.returncode == 0 and checkpoint.stat().st_mtime_ns == before
    # Other settings do not overwrite what is there.
    other = run_script(*command[:4], '--epochs', '4')
    assert other.returncode == 2 and 'holds a run of other settings' in other.stderr


def test_no_such_folder_is_one_line(tmp_path):
    done = run_script(PRETRAIN, tmp_path / 'none')
    assert done.returncode == 2 and done.stderr.endswith('none: no such folder\n')
