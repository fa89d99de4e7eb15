"""Lock a folder against other processes."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amt_mm.errors import InputError
from amt_mm.links import no_link


@contextmanager
def file_lock(folder: Path, wait: bool = False) -> Iterator[None]:
    """Hold the lock of a folder, which the system releases if the process dies.

    Args:
        folder: Created if missing.
        wait: Wait for a lock that is held. Defaults to False: refuse.

    Raises:
        InputError: Another process holds the lock, or its file is a symbolic link.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / '.lock', 'w', opener=no_link) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as error:
            raise InputError(f'{folder}: another process is working in this folder') from error
        try:
            yield
        finally:
            # Closing the file would not release it from a child that another thread just forked.
            fcntl.flock(file, fcntl.LOCK_UN)
