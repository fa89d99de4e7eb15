"""Disk, shared memory and the work folder, as they are and as they are not."""

import fcntl
import os
import shutil
from types import SimpleNamespace

import pytest

from amt_mm.apis.doctor import folders

GIB = 2**30


def free(monkeypatch, gib):
    monkeypatch.setattr(shutil, 'disk_usage', lambda _: SimpleNamespace(free=gib * GIB,
                                                                        total=64 * GIB))


@pytest.mark.parametrize(('gib', 'state'), [(2, 'ok'), (.0625, 'warning')])
def test_shared_memory(monkeypatch, gib, state):
    free(monkeypatch, gib)
    found = folders.look_at_shared_memory()
    assert found.state == state and ('--shm-size' in found.text) == (state == 'warning')


def test_no_shared_memory(tmp_path):
    found = folders.look_at_shared_memory(tmp_path / 'shm')
    assert found.state == 'warning' and 'No such file' in found.text


@pytest.mark.parametrize(('gib', 'state'), [(12, 'ok'), (9, 'warning'), (.5, 'problem')])
def test_free_disk(monkeypatch, tmp_path, gib, state):
    free(monkeypatch, gib)
    found, = folders.look_at_folder(tmp_path)
    assert found.state == state and f'{gib:.1f} GiB free' in found.text


def test_a_folder_that_does_not_exist_stays_so(tmp_path):
    found, = folders.look_at_folder(tmp_path / 'work_dirs' / 'deep')
    assert str(tmp_path) in found.text and os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_written():
    # Also for root, of whom modes ask nothing.
    found, = folders.look_at_folder(folders.Path('/proc/nowhere'))
    assert found.state == 'problem' and '--work-dir' in found.text


def test_a_file_in_its_place(tmp_path):
    (tmp_path / 'work').write_text('')
    found, = folders.look_at_folder(tmp_path / 'work' / 'run')
    assert found.state == 'problem' and 'Not a directory' in found.text


def _failing(number, text):
    def fail(*_):
        raise OSError(number, text)
    return fail


def test_what_a_run_does_there_is_tried(monkeypatch, tmp_path):
    monkeypatch.setattr(os, 'fsync', _failing(28, 'No space left on device'))
    found, = folders.look_at_folder(tmp_path)
    assert found.state == 'problem' and 'No space left' in found.text
    assert os.listdir(tmp_path) == []


def test_a_file_system_without_locks_is_a_warning_as_in_training(monkeypatch, tmp_path):
    monkeypatch.setattr(fcntl, 'flock', _failing(38, 'Function not implemented'))
    found = list(folders.look_at_folder(tmp_path))
    assert found[0].state == 'warning' and 'does not lock files' in found[0].text
    assert 'GiB free' in found[1].text and os.listdir(tmp_path) == []
