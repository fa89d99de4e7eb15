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
from forked_script import run_script

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
    done = run_script(QUICKSTART, '--data', folder, '--work-dir', tmp_path / 'out',
                      '--cfg-options', *TINY, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    # A quarter of 8 epochs.
    assert len(re.findall('Saliency refreshed before epoch [357]', done.stdout)) == 3
    out = tmp_path / 'out' / 'pictures'
    rows = json.loads((out / 'table.json').read_text())['rows']
    assert [row['recipe'] for row in rows] == ['random init', 'recommended', 'MAE + AMT']
    assert 'knn' not in rows[0]  # no labels, no accuracy
    assert (rows[1]['encoder_tokens'], rows[1]['decoder_tokens']) == (17, 33)
    assert (rows[2]['encoder_tokens'], rows[2]['decoder_tokens']) == (11, 39)
    page = (out / 'report.html').read_text()
    assert page.count('<img') >= 4 * 4 and 'after epoch 6' in page
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # asks for nothing
    assert len(list(out.glob('*/epoch_8.pth'))) == 2


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
