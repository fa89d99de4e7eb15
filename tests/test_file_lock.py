"""file_lock: one process at a time in a folder, refused or waiting."""

import errno
import fcntl
import os
import threading

import pytest

from amt_mm import file_lock as module
from amt_mm.errors import InputError
from amt_mm.file_lock import file_lock


def test_a_held_lock_is_refused_or_waited_for(tmp_path):
    order = []

    def wait():
        with file_lock(tmp_path / 'run', wait=True):
            order.append('second')

    second = threading.Thread(target=wait)
    with file_lock(tmp_path / 'run'):
        with pytest.raises(InputError, match='run: another process is working'), \
                file_lock(tmp_path / 'run'):
            pass
        second.start()
        second.join(.2)
        order.append('first')
    second.join()
    assert order == ['first', 'second']


@pytest.mark.parametrize('number', [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_causes_one_warning(tmp_path, monkeypatch, capsys, number):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, 'flock', fail)
    monkeypatch.setattr(module, '_WARNED', set())
    for wait in (False, True):
        with file_lock(tmp_path / 'run', wait):
            pass
    assert capsys.readouterr().err == (
        f'warning: {tmp_path}/run: this file system has no locks ({os.strerror(number)}), so a '
        'second process in one folder would go unnoticed: start none\n')
