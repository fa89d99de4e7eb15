"""Files are complete or absent: after refused writes, real and simulated, and SIGKILL."""

import errno
import os
import resource
import signal
import time
from pathlib import Path

import pytest
import torch
from mmengine.fileio import LocalBackend

from amt_mm.checkpoints import safe_save
from amt_mm.engine import OverlayRunner
from amt_mm.errors import InputError


def in_child(work):
    """Run in a forked process, for limits that cannot be undone; return its output or status."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(write, str(work()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return said


def test_a_file_is_replaced_atomically(tmp_path):
    path = tmp_path / 'new' / 'a.txt'
    for text in ('first', 'second'):
        with safe_save.atomic_file(path) as temporary:
            before = path.read_text() if path.exists() else None
            temporary.write_text(text)
            assert (path.read_text() if path.exists() else None) == before
        assert path.read_text() == text
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize('error', [KeyError, KeyboardInterrupt])
def test_a_failure_leaves_the_old_file(tmp_path, error):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with pytest.raises(error), safe_save.atomic_file(path) as temporary:
        temporary.write_text('half')
        raise error
    assert path.read_text() == 'old' and list(tmp_path.iterdir()) == [path]


def test_a_full_device_is_one_line(tmp_path):
    """The kernel's own ENOSPC."""
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with pytest.raises(InputError, match=r'a\.txt could not be saved: No space left') as caught, \
            safe_save.atomic_file(path) as temporary:
        temporary.symlink_to('/dev/full')
        temporary.write_text('new')
    assert 'earlier files are intact' in str(caught.value) and '\n' not in str(caught.value)
    assert path.read_text() == 'old' and list(tmp_path.iterdir()) == [path]


def test_refused_writes_of_torch_are_recognised(tmp_path):
    path = tmp_path / 'a.pth'
    path.write_text('old')

    def save():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        try:
            with safe_save.atomic_file(path) as temporary:
                torch.save(torch.ones(10000), temporary)
        except InputError as error:
            return error

    assert 'could not be saved' in in_child(save)
    assert path.read_text() == 'old' and list(tmp_path.iterdir()) == [path]


def test_other_errors_are_not_reported_as_a_full_disk(tmp_path):
    with pytest.raises(RuntimeError, match='shapes'), safe_save.atomic_file(tmp_path / 'a'):
        raise RuntimeError('shapes differ')


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    halves = ['.epoch_1.pth.saving', '.last_checkpoint.saving']
    # Features may be being written by a process that lives.
    others = {'epoch_1.pth', '.lock', 'a.saving', '.features.npz.saving'}
    for name in (*halves, *others):
        (tmp_path / name).touch()
    assert [file.name for file in safe_save.remove_leftovers(tmp_path)] == halves
    assert {file.name for file in tmp_path.iterdir()} == others


@pytest.mark.slow
def test_sigkill_at_any_moment_leaves_the_old_or_the_new(tmp_path):
    path, seen = tmp_path / 'a.bin', set()
    for attempt in range(30):
        path.write_bytes(b'o' * 3_000_000)
        child = os.fork()
        if child == 0:
            with safe_save.atomic_file(path) as temporary, open(temporary, 'wb') as file:
                for _ in range(30):
                    file.write(b'n' * 100_000)
            os._exit(0)
        # Every other time not before it writes, however busy the machine is.
        while attempt % 2 and not list(tmp_path.glob('.*.saving')):
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
                break
        time.sleep(attempt * 3e-4)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        content = path.read_bytes()
        assert content in (b'o' * 3_000_000, b'n' * 3_000_000)
        seen.add(bool(list(tmp_path.glob('.*.saving'))))
    assert True in seen  # some were killed in writing


# --- the runner ---------------------------------------------------------------------------------


@pytest.fixture
def trained(toy_runner):
    """A runner of ours with epoch_1.pth, and what that file holds."""
    runner = toy_runner(kind=OverlayRunner, epochs=1)
    runner.train()
    path = Path(runner.work_dir, 'epoch_1.pth')
    return runner, path, path.read_bytes()


def test_the_runner_saves_through_a_temporary_file(trained, monkeypatch):
    runner, path, old = trained
    put, seen = LocalBackend.put, []

    def watch(self, content, file):
        put(self, content, file)
        seen.append((Path(file), path.read_bytes() == old))

    monkeypatch.setattr(LocalBackend, 'put', watch)
    runner.model.backbone.cls_token.data.fill_(5)
    runner.save_checkpoint(runner.work_dir, 'epoch_1.pth')
    assert seen == [(path.with_name('.epoch_1.pth.saving'), True)]
    assert path.read_bytes() != old
    assert torch.load(path, weights_only=False)['state_dict']['backbone.cls_token'].eq(5).all()


@pytest.mark.parametrize('share', [0, .001, .5, .999])
def test_a_full_disk_leaves_the_old_checkpoint(trained, monkeypatch, share):
    runner, path, old = trained

    def put(self, content, file):
        Path(file).write_bytes(content[:int(len(content) * share)])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(LocalBackend, 'put', put)
    with pytest.raises(InputError, match=r'epoch_1\.pth could not be saved: No space left'):
        runner.save_checkpoint(runner.work_dir, 'epoch_1.pth')
    assert path.read_bytes() == old
    assert not list(path.parent.glob('.*.saving'))


def test_a_limit_of_the_system_leaves_it_too(trained):
    runner, path, old = trained

    def save():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(old) // 2, len(old) // 2))
        try:
            runner.save_checkpoint(runner.work_dir, 'epoch_1.pth')
        except InputError as error:
            return error

    assert 'epoch_1.pth could not be saved: File too large' in in_child(save)
    assert path.read_bytes() == old
    assert not list(path.parent.glob('.*.saving'))


def test_other_storage_is_left_to_mmengine(trained, tmp_path):
    runner, *_ = trained
    runner.save_checkpoint(str(tmp_path / 'other'), 'a.pth', backend_args=dict(backend='local'))
    assert [file.name for file in (tmp_path / 'other').iterdir()] == ['a.pth']
