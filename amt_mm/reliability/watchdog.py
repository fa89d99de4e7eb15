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

# Seconds between two looks.
INTERVAL = 1.0
# Looks at which a reason to end must hold. Meanwhile the main thread may meet it too, has more to
# say about it, and ends the process properly.
PATIENCE = 5


@dataclass(frozen=True)
class End:
    """Why a run cannot go on.

    Attributes:
        line: One line for the person at the terminal.
        status: Exit status.
        shared: Whether all processes of a machine find this: the first of them says it.
    """

    line: str
    status: int = REQUEUE_STATUS
    shared: bool = True


Check = Callable[[], 'End | None']


class Watchdog:
    """Asks its checks once a second whether the run can go on.

    A main thread that waits for the network, for a queue or in C code can be neither asked
    nor interrupted, and an exception raised in it from a signal may be swallowed by whatever
    runs just then. So the process is ended from here, without the interpreter's shutdown.

    Attributes:
        tell: Says to the other processes of the run why this one ends; None: it is done.
    """

    def __init__(self) -> None:
        # At how many looks in a row a check has found a reason to end.
        self._looks: dict[Check, int] = {}
        self._lock = threading.RLock()
        self._thread: threading.Thread | None = None
        self._patience = PATIENCE
        self.tell: Callable[[End | None], None] = lambda end: None

    @property
    def at_work(self) -> bool:
        """Whether there is anything to check."""
        return bool(self._looks)

    def add(self, check: Check) -> None:
        """Ask a check from now on; it must not block."""
        with self._lock:
            self._looks[check] = 0
            # A forked process has the object of its parent's thread, and no thread.
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name='watchdog', daemon=True)
                self._thread.start()

    @contextmanager
    def watching(self, check: Check) -> Iterator[None]:
        """Ask a check within a block."""
        self.add(check)
        try:
            yield
        finally:
            with self._lock:
                self._looks.pop(check, None)

    def hurry(self, seconds: float) -> None:
        """Let the main thread wait to be ended, where it has nothing to say itself."""
        self._patience = 1
        time.sleep(seconds if self.at_work else 0)
        self._patience = PATIENCE

    def leave(self, end: End | None = None) -> None:
        """Check nothing any more: the run is done, or ends for a reason that has been said."""
        with self._lock:
            self._looks.clear()
            self.tell(end)

    def _run(self) -> None:
        while True:
            time.sleep(INTERVAL)
            # Held until the end: once that has begun, the main thread says nothing besides.
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
    """A check that the process which started this one is still there.

    Args:
        parent: Its number.
    """
    def check() -> End | None:
        if os.getppid() == parent:
            return None
        return End(f'the launcher (process {parent}) is gone: this run has stopped, so that '
                   'nothing writes to its folder unseen; continue with --resume')

    return check
