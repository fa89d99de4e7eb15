"""Killed at random moments and resumed, a training ends as the unbroken one."""

import re
from pathlib import Path

import pytest
from forked_script import run_script

ROOT = Path(__file__).parents[2]
TOY = Path(__file__).with_name('toy_training.py')


def kill(tmp_path, *options):
    return run_script(ROOT / 'lab/kill_and_resume.py', TOY,
                      '--work-dir', tmp_path / 'out', *options, timeout=600)


@pytest.mark.slow
def test_fifty_kills_at_random_moments_change_nothing(tmp_path):
    done = kill(tmp_path, '--kills', '50')
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r'50 kills \((\d+) in elsewhere, (\d+) in step, (\d+) in refresh, '
                      r'(\d+) in checkpoint\) over \d+ runs: all ended as', done.stdout)
    assert found and min(map(int, found.groups())) > 0, done.stdout


@pytest.mark.slow
def test_no_flipped_bit_changes_the_end(tmp_path):
    done = kill(tmp_path, '--kills', '0', '--flips', '60')
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r'60 flipped bits: .*\d+ equal', done.stdout), done.stdout


@pytest.mark.slow
def test_what_a_resume_loses_is_found(tmp_path):
    done = kill(tmp_path, '--kills', '6', '--cfg-options',
                'default_hooks.checkpoint.save_optimizer=False')
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r'run\d+, killed \d times: weights, optimiser, .*maps differ', done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize(('options', 'said'), [
    (['--kills', '0'], '--kills 0 --flips 0: give at least 1 of them'),
    ([], 'is not empty: name a new folder')])
def test_bad_input_is_one_line(tmp_path, options, said):
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out' / 'file').touch()
    done = kill(tmp_path, *options)
    assert done.returncode == 2 and done.stderr.strip().endswith(said)
