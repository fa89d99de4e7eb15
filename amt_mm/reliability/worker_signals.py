"""Loading processes survive a signal that is sent to all processes of a job or a terminal."""

from __future__ import annotations

import os
import signal
import threading
import time

# Enough for the steps until all processes agree, and for saving; then the job is killed anyway.
GRACE = 60
_shielding = False


def shield_forked(shield: bool) -> None:
    """Set whether processes forked from now on survive signals that end a run.

    Slurm and others signal all processes of a job, Ctrl-C all of a terminal. If loading ended at
    once, training could not make the one or two steps until all ranks have agreed to stop.

    SIGUSR1 and SIGINT are ignored. SIGTERM from the parent ends a process at once, as torch and
    multiprocessing intend; SIGTERM from another process, after :data:`GRACE` seconds. torch ends
    workers with their parent in any case. Processes started in another way (``spawn``, or a
    program) are not affected.

    Args:
        shield: True while training.
    """
    global _shielding
    _shielding = shield


def _after_fork() -> None:
    if not _shielding:
        return
    for number in (signal.SIGUSR1, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    # Blocked, so that the thread receives it, with its sender.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_in_time, args=(os.getppid(),), daemon=True).start()


def _end_in_time(parent: int) -> None:
    sender = signal.sigwaitinfo({signal.SIGTERM}).si_pid
    end = time.monotonic() + GRACE
    while sender != parent and (left := end - time.monotonic()) > 0:
        again = signal.sigtimedwait({signal.SIGTERM}, left)
        sender = again.si_pid if again else None
    os._exit(0 if sender == parent else 128 + signal.SIGTERM)


# Not by worker_init_fn, which runs too late: a signal may arrive before.
os.register_at_fork(after_in_child=_after_fork)
