"""Lock a folder against other processes."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from amt_mm.errors import InputError
from amt_mm.links import no_link
from amt_mm.messages import warn

# What the system says of a lock that another process has.
HELD = (errno.EACCES, errno.EWOULDBLOCK)
# File systems without locks that a warning has named.
_WARNED: set[int] = set()


@contextmanager
def file_lock(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a folder, which the system releases if the process dies.

    On a file system without locks there is a warning, once, and no lock.

    Args:
        folder: Created if missing.
        wait: Wait for a lock that is held. Defaults to False: refuse.

    Raises:
        InputError: Another process holds the lock, or its file is a symbolic link.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / '.lock', 'w', opener=no_link) as file:
        locked = _lock(file, folder, wait)
        try:
            yield
        finally:
            # Closing the file would not release it from a child that another thread just forked.
            if locked:
                fcntl.flock(file, fcntl.LOCK_UN)


def _lock(file: TextIO, folder: Path, wait: bool) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError as error:
        if error.errno in HELD:
            raise InputError(f'{folder}: another process is working in this folder') from error
        device = os.fstat(file.fileno()).st_dev
        if device not in _WARNED:
            _WARNED.add(device)
            warn(f'{folder}: this file system has no locks ({error.strerror}), so a second process '
                 'in one folder would go unnoticed: start none')
        return False
    return True
