"""One run a folder: a second process is refused, a dead one's folder is free."""

import errno
import fcntl
import os
import signal
import time
from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook

from amt_mm.errors import InputError
from amt_mm.reliability.run_lock import RunLock


def in_child(work):
    """What ``work()`` says in a forked process: its text, or that of its InputError."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            said = work()
        except InputError as error:
            said = f'refused: {error}'
        except BaseException as error:
            said = f'failed: {error!r}'
        os.write(write, said.encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return said


def take(folder):
    with RunLock(folder, print):
        return 'taken'


def test_a_second_process_is_refused_and_told_who_has_it(tmp_path):
    with RunLock(tmp_path / 'run', print):
        said = in_child(lambda: take(tmp_path / 'run'))
    assert said.startswith('refused: ')
    assert f'process {os.getpid()} on {os.uname().nodename}' in said
    assert '\n' not in said and '--work-dir' in said
    assert in_child(lambda: take(tmp_path / 'run')) == 'taken'


def test_the_folder_of_a_killed_run_is_free_even_while_its_workers_live(tmp_path):
    ready, worker = os.pipe(), os.pipe()

    def hold():
        RunLock(tmp_path, print).__enter__()
        grandchild = os.fork()
        if grandchild == 0:
            time.sleep(30)
            os._exit(0)
        os.write(worker[1], str(grandchild).encode())
        os.write(ready[1], b'.')
        time.sleep(30)

    child = os.fork()
    if child == 0:
        hold()
        os._exit(1)
    os.read(ready[0], 1)
    assert in_child(lambda: take(tmp_path)).startswith('refused')
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    loader = int(os.read(worker[0], 20))
    os.kill(loader, 0)  # it lives
    assert in_child(lambda: take(tmp_path)) == 'taken'
    os.kill(loader, signal.SIGKILL)


def test_a_file_system_without_locks_is_said(tmp_path, monkeypatch):
    def refuse(*args):
        raise OSError(errno.ENOLCK, 'No locks available')

    monkeypatch.setattr(fcntl, 'lockf', refuse)
    said = []
    with RunLock(tmp_path, said.append):
        pass
    assert len(said) == 1 and 'has no locks' in said[0]


def test_the_lock_is_not_written_through_a_link(tmp_path):
    outside = tmp_path / 'outside'
    outside.write_text('mine')
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run/.run.lock').symlink_to(outside)
    with pytest.raises(InputError, match='cannot be used'):
        take(tmp_path / 'run')
    assert outside.read_text() == 'mine'


def test_two_runs_started_together_end_as_one(toy_runner):
    """With other seeds: one is refused, the other ends as if it had been alone."""
    alone = toy_runner('alone', epochs=2, seed=3)
    alone.train()
    right = torch.load(Path(alone.work_dir, 'epoch_2.pth'), weights_only=False)['state_dict']
    shared = toy_runner('shared', epochs=2, seed=3)

    def second():
        toy_runner('shared', epochs=2, seed=77).train()
        return 'trained'

    class Meanwhile(Hook):
        said = []

        def before_train_epoch(self, runner):
            self.said.append(in_child(second))

    shared.register_hook(Meanwhile())
    shared.train()
    assert len(Meanwhile.said) == 2
    assert all('refused' in said and 'another run is training' in said for said in Meanwhile.said)
    end = torch.load(Path(shared.work_dir, 'epoch_2.pth'), weights_only=False)['state_dict']
    assert all(torch.equal(end[key], value) for key, value in right.items())
    # The refused one leaves nothing, its config least of all.
    assert len(list(Path(shared.work_dir).glob('*.py'))) == 1
