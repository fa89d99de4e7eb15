"""tools/quickstart.py on a folder without labels: table, page and checkpoints appear."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from forked_script import run_script
from load_script import load_script

from amt_mm.saliency import SaliencyWriter

ROOT = Path(__file__).parents[2]
QUICKSTART = ROOT / 'tools' / 'quickstart.py'
TINY = ('train_dataloader.batch_size=4', 'train_cfg.max_epochs=8',
        'default_hooks.checkpoint.interval=8', 'default_hooks.logger.interval=1')


@pytest.mark.slow
def test_a_folder_without_labels(tmp_path):
    folder = tmp_path / 'pictures'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(9):
        cv2.imwrite(str(folder / f'{i}.png'), rng.integers(0, 255, (70 + i, 90, 3), np.uint8))
    (folder / 'broken.jpg').write_bytes(b'no image')
    command = [QUICKSTART, '--data', folder, '--out', tmp_path / 'out', '--cfg-options', *TINY,
               'overlay.hooks.saliency.interval=2']  # which AMT alone has
    done = run_script(*command, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r'pictures: \d images to train on, \d held out, no classes', done.stdout)
    assert 'The images have no classes, so their accuracy cannot' in done.stdout
    # A quarter of 8 epochs.
    assert len(re.findall('Saliency refreshed before epoch [357]', done.stdout)) == 3
    out = tmp_path / 'out' / 'pictures'
    rows = json.loads((out / 'table.json').read_text())['rows']
    assert [row['recipe'] for row in rows] == ['no training', 'MAE', 'recommended', 'MAE + AMT']
    assert 'knn' not in rows[0]  # no labels, no accuracy
    assert [(row['encoder_tokens'], row['decoder_tokens']) for row in rows[1:]] == [
        (17, 65), (17, 16), (11, 39)]
    page = (out / 'report.html').read_text()
    assert page.count('<img') >= 4 * 4 and 'after epoch 6' in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # asks for nothing
    assert len(list(out.glob('*/epoch_8.pth'))) == 3
    # Another image in the folder: other results, in a folder of their own.
    cv2.imwrite(str(folder / 'new.png'), rng.integers(0, 255, (70, 90, 3), np.uint8))
    again = run_script(*command[:-1], 'train_cfg.max_epochs=1', timeout=600)
    assert again.returncode == 0, again.stdout + again.stderr
    assert f'{out} holds results of other settings or images' in again.stdout
    assert (out.with_name('pictures-2') / 'table.json').is_file()


def nine_pictures(place):
    folder = place / 'pictures'
    folder.mkdir()
    for i in range(9):
        cv2.imwrite(str(folder / f'{i}.png'), np.full((70, 90, 3), i, np.uint8))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(('arguments', 'line'), [
    (['--cfg-options', 'overlay.hoks.saliency.interval=2'], 'did you mean hooks?'),
    (['--epochs', '2', '--minutes', '3'], 'not allowed with argument'),
    (['--minutes', '0'], 'must be positive')])
def test_what_it_does_not_take_is_one_line(tmp_path, arguments, line):
    folder = nine_pictures(tmp_path)
    done = run_script(QUICKSTART, '--data', folder, '--out', tmp_path / 'out', *arguments)
    assert done.returncode == 2
    assert line in done.stderr.splitlines()[-1] and not (tmp_path / 'out').exists()


@pytest.mark.slow
def test_a_file_in_place_of_the_results_is_one_line(tmp_path):
    folder = nine_pictures(tmp_path)
    (tmp_path / 'out').write_text('mine')
    done = run_script(QUICKSTART, '--data', folder, '--out', tmp_path / 'out', '--epochs', '1')
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].endswith('table.md: cannot be written: Not a directory')


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    done = run_script(QUICKSTART, '--data', tmp_path / 'none')
    assert done.returncode == 2
    assert 'none: no such folder' in done.stderr and 'Traceback' not in done.stderr


@pytest.mark.parametrize('tool', ['tools/quickstart.py', 'tools/compare.py', 'tools/judge.py',
                                  'lab/study', 'lab/benchmark'])
def test_help_suffices(tool):
    done = subprocess.run([sys.executable, str(ROOT / tool), '--help'],
                          capture_output=True, text=True, check=False,
                          env={**os.environ, 'PYTHONPATH': str(ROOT)})
    assert done.returncode == 0
    for option in re.findall(r'^  (--[a-z-]+)', done.stdout, re.MULTILINE):
        assert re.search(rf'{option}[^\n]*(\n {{6,}}\S|\S  +\S)', done.stdout), option


@pytest.fixture
def tool():
    return load_script(QUICKSTART)


def test_maps_are_in_the_order_of_refreshes_whatever_copied_them(tool, tmp_path):
    (tmp_path / 'saliency').mkdir()
    for time, step in enumerate((10, 2, 4)):
        path = tmp_path / f'saliency/epoch_{step}.amtmap'
        writer = SaliencyWriter(path, 1, (2, 2), 'x', step)
        writer.write(torch.arange(1), torch.rand(1, 4))
        os.utime(writer.commit(), (time, time))
    assert [path.stem for path in tool.saliency_maps(tmp_path)] == ['epoch_2', 'epoch_4',
                                                                    'epoch_10']


def test_the_folder_at_hand_has_folders_beside_it(tool, monkeypatch, tmp_path):
    (tmp_path / 'here').mkdir()
    monkeypatch.chdir(tmp_path / 'here')
    monkeypatch.setattr(tool, 'is_free', lambda folder, _: folder.name.endswith('-3'))
    assert tool.unused_folder(Path('.'), {}) == tmp_path / 'here-3'
