"""Loading processes outlive a signal that goes to every process of a job or a terminal."""

from __future__ import annotations

import os
import signal
import threading
import time

# Steps until all processes have agreed, and a save: after this the job is about to be killed.
GRACE = 60
_shielding = False


def shield_forked(shield: bool) -> None:
    """Whether processes forked from now on outlive signals to end.

    Slurm and others signal all processes of a job, Ctrl-C all of a terminal. If loading ended at
    once, training could not make the step or two until all ranks have agreed to stop and saved.

    SIGUSR1 and SIGINT are ignored. SIGTERM of the parent ends a process at once, as torch and
    multiprocessing mean it; that of anyone else, after :data:`GRACE` seconds. Workers end
    with their parent in any case, as torch sees to. Processes that are started in another
    way, by ``spawn`` or as a program, are not concerned.

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
    # Blocked, so that it waits for the thread, which is told who sent it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Thread(target=_end_in_time, args=(os.getppid(),), daemon=True).start()


def _end_in_time(parent: int) -> None:
    sender = signal.sigwaitinfo({signal.SIGTERM}).si_pid
    end = time.monotonic() + GRACE
    while sender != parent and (left := end - time.monotonic()) > 0:
        again = signal.sigtimedwait({signal.SIGTERM}, left)
        sender = again.si_pid if again else None
    os._exit(0 if sender == parent else 128 + signal.SIGTERM)


# Not by worker_init_fn: a worker may be told before it comes to that.
os.register_at_fork(after_in_child=_after_fork)
