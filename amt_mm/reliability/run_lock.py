"""One run per folder: a lock that the system releases when its process ends in any way."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from amt_mm.errors import InputError
from amt_mm.file_lock import HELD

FILE = '.run.lock'
_MAX_OWNER = 200


class RunLock:
    """Reserve a work folder for one training run, and refuse a second one.

    A POSIX record lock of the kernel, which is never stale, as it ends with its process. Unlike
    that of :func:`amt_mm.file_lock.file_lock` (``flock``), it is not inherited by loading workers,
    which may survive their run for a moment. On NFS with a lock manager it holds between hosts,
    and is released when the manager notices that a host is gone.

    Args:
        folder: The work folder, created if missing.
        warn: Called with one line if the file system has no locks.

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
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise InputError(f'{self._path.parent}: the work folder cannot be used '
                             f'({error.strerror}): name another one with --work-dir') from error
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in HELD:
                raise self._refused() from error
            self._warn(f'{self._path.parent}: this file system has no locks, so a second run in '
                       'this folder would go unnoticed: start none')
        os.ftruncate(self._file, 0)
        os.write(self._file, f'process {os.getpid()} on {socket.gethostname()}, started '
                             f'{time.strftime("%Y-%m-%d %H:%M:%S")}'.encode())
        return self

    def __exit__(self, kind: type | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        """Release it. The file stays: another run may have locked it already."""
        os.close(self._file)

    def _refused(self) -> InputError:
        owner = os.read(self._file, _MAX_OWNER).decode(errors='replace') or 'its process is unknown'
        os.close(self._file)
        return InputError(f'{self._path.parent}: another run is training in this folder ({owner}): '
                          'wait until it ends or stop it, or name another --work-dir')
