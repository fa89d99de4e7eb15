"""Killed at random moments and resumed, a training ends as the unbroken one."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# 10 scenes in batches of 4, the last of 2; 9 iterations, refreshes before the 4th and the 7th.
TOY = f"""
_base_ = ['{ROOT}/configs/quickstart/mae-amt_vit-mini-p8_1xb128-coslr-24e_scenes.py']
overlay = dict(hooks=dict(saliency=dict(begin=1, interval=1)))
model = dict(backbone=dict(arch=dict(embed_dims=24, num_layers=1, feedforward_channels=24)),
             neck=dict(decoder_embed_dim=16, decoder_depth=1, decoder_num_heads=2))
train_dataloader = dict(batch_size=4, dataset=dict(num_samples=10))
train_cfg = dict(max_epochs=3)
param_scheduler = [dict(type='LinearLR', by_epoch=False, start_factor=.1, end=5),
                   dict(type='StepLR', by_epoch=True, step_size=1)]
default_hooks = dict(checkpoint=dict(interval=1, by_epoch=False, max_keep_ckpts=2))
randomness = dict(seed=0)
log_level = 'WARNING'
"""


def kill(tmp_path, *options):
    config = tmp_path / 'toy.py'
    config.write_text(TOY)
    return subprocess.run(
        [sys.executable, str(ROOT / 'tools/analysis_tools/kill_and_resume.py'), str(config),
         '--work-dir', str(tmp_path / 'out'), *options], capture_output=True, text=True)


@pytest.mark.slow
def test_fifty_kills_at_random_moments_change_nothing(tmp_path):
    done = kill(tmp_path, '--kills', '50')
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r'50 kills \((\d+) in elsewhere, (\d+) in step, (\d+) in refresh, '
                      r'(\d+) in checkpoint\) over \d+ runs: all ended as', done.stdout)
    assert found and min(map(int, found.groups())) > 0, done.stdout


@pytest.mark.slow
def test_what_a_resume_loses_is_found(tmp_path):
    done = kill(tmp_path, '--kills', '6', '--cfg-options',
                'default_hooks.checkpoint.save_optimizer=False')
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r'run\d+, killed \d times: weights, optimiser, .*maps differ', done.stdout)


@pytest.mark.parametrize(('options', 'said'), [
    (['--kills', '0'], '--kills 0: give at least 1'), ([], 'is not empty: name a new folder')])
def test_bad_input_is_one_line(tmp_path, options, said):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'file').touch()
    done = kill(tmp_path, *options)
    assert done.returncode == 2 and done.stderr.strip().endswith(said)
