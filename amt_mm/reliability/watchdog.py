"""A thread that ends this process when its run cannot go on, whatever the main thread does."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from amt_mm.errors import REQUEUE_STATUS
from amt_mm.messages import say

# Seconds between two checks.
INTERVAL = 1.0
# Number of successive checks that must find a reason to end. Meanwhile the main thread may find it
# too; it knows more about it and ends the process properly.
PATIENCE = 5


@dataclass(frozen=True)
class End:
    """Why a run cannot go on.

    Attributes:
        line: One line for the user.
        status: Exit status.
        shared: Whether all processes of a machine find it, so that only the first reports it.
    """

    line: str
    status: int = REQUEUE_STATUS
    shared: bool = True


Check = Callable[[], 'End | None']


class Watchdog:
    """Runs its checks once a second, and ends the process if one of them finds a reason.

    A main thread that waits for the network, for a queue or in C code cannot be interrupted, and
    an exception raised in it by a signal handler may be swallowed by the code that it interrupts.
    So the thread ends the process, without the interpreter's shutdown.

    Attributes:
        tell: Tells the other processes of the run why this one ends; None for a regular end.
    """

    def __init__(self) -> None:
        # Number of successive times that a check has found a reason to end.
        self._looks: dict[Check, int] = {}
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._patience = PATIENCE
        self.tell: Callable[[End | None], None] = lambda end: None

    @property
    def at_work(self) -> bool:
        """Whether there are checks."""
        return bool(self._looks)

    def add(self, check: Check) -> None:
        """Run a check from now on; it must not block."""
        with self._lock:
            self._looks[check] = 0
            # A forked process inherits the object, but not the thread.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name='watchdog', daemon=True)
                self._thread.start()

    @contextmanager
    def watching(self, check: Check) -> Iterator[None]:
        """Run a check within a block."""
        self.add(check)
        try:
            yield
        finally:
            with self._lock:
                self._looks.pop(check, None)

    def hurry(self, seconds: float) -> None:
        """Wait in the main thread until a check, which knows the reason, ends the process."""
        self._patience = 1
        time.sleep(seconds if self.at_work else 0)
        self._patience = PATIENCE

    def leave(self, end: End | None = None) -> None:
        """Remove all checks: the run is complete, or ends for a reason that has been reported."""
        with self._lock:
            self._looks.clear()
            self.tell(end)

    def _run(self) -> None:
        while True:
            time.sleep(INTERVAL)
            # Held until the process ends, so that the main thread reports nothing else.
            with self._lock:
                for check in list(self._looks):
                    end = check()
                    self._looks[check] = self._looks[check] + 1 if end else 0
                    if end and self._looks[check] >= self._patience:
                        self._end(end)

    def _end(self, end: End) -> None:
        if not end.shared or os.environ.get('LOCAL_RANK', '0') == '0':
            say('error', end.line)
        self.tell(end)
        os._exit(end.status)


watchdog = Watchdog()


def parent_watch(parent: int) -> Check:
    """Return a check that the process which started this one still exists.

    Args:
        parent: Its process id.
    """
    def check() -> End | None:
        if os.getppid() == parent:
            return None
        return End(f'the launcher (process {parent}) is gone: this run has stopped, so that '
                   'nothing writes to its folder unseen; continue with --resume')

    return check
