"""file_lock: one process at a time in a folder, refused or waiting."""

import threading

import pytest

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
