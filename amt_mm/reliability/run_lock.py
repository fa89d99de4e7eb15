"""One run a folder: a lock that the system releases when its process ends, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from amt_mm.errors import InputError

FILE = '.run.lock'
_TAKEN = (errno.EACCES, errno.EAGAIN)
_MAX_OWNER = 200


class RunLock:
    """Keep a work folder for one training run, and refuse a second one.

    The lock is the kernel's (POSIX record lock), so it is never stale: it ends with its
    process. Loading workers do not inherit it. On NFS it holds between hosts where the
    server's lock manager runs, and is released when that notices that a host is gone.

    Args:
        folder: The work folder. It is made if need be.
        warn: Told in one line where the file system has no locks.

    Raises:
        InputError: Another run has the folder; it is named.

    Example:
        >>> with RunLock(Path('work_dirs/run'), print):
        ...     train()
    """

    def __init__(self, folder: Path, warn: Callable[[str], None]) -> None:
        self._path = Path(folder) / FILE
        self._warn = warn

    def __enter__(self) -> RunLock:
        """Take the lock."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise InputError(f'{self._path.parent}: the work folder cannot be used '
                             f'({error.strerror}): name another one with --work-dir') from error
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in _TAKEN:
                raise self._refused() from error
            self._warn(f'{self._path.parent}: this file system has no locks, so a second run in '
                       'this folder would go unnoticed: start none')
        os.ftruncate(self._file, 0)
        os.write(self._file, f'process {os.getpid()} on {socket.gethostname()}, started '
                             f'{time.strftime("%Y-%m-%d %H:%M:%S")}'.encode())
        return self

    def __exit__(self, kind: type | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        """Release it. The file stays: removing it could take it from a run that has it by now."""
        os.close(self._file)

    def _refused(self) -> InputError:
        owner = os.read(self._file, _MAX_OWNER).decode(errors='replace') or 'its process is unknown'
        os.close(self._file)
        return InputError(f'{self._path.parent}: another run is training in this folder ({owner}): '
                          'wait until it ends or stop it, or name another --work-dir')
