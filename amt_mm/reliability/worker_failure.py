"""A loading worker that died or hangs: which one, at which file, and what to do about it."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from threading import current_thread, main_thread

from torch.utils.data._utils import signal_handling

from amt_mm.datasets.worker_watch import Reading, live_watches

from .watchdog import End

# Seconds without a batch after which a run stops; the slowest working disk answers sooner.
TIMEOUT = 600
# A worker that dies closes its connections some time before it counts as dead.
_PATIENCE = 2.0
_MEANINGS = {
    'SIGKILL': 'most likely the machine ran out of memory (dmesg says); lower '
               'train_dataloader.num_workers or batch_size, or ask for more memory',
    'SIGBUS': 'most likely /dev/shm, through which batches travel, is full; enlarge it (docker run '
              '--shm-size=16g), or lower train_dataloader.num_workers',
    'SIGSEGV': 'most likely a decoder fails on that file; move it away and continue with --resume',
    'SIGABRT': 'most likely a library aborted on that file; move it away and continue with '
               '--resume',
    'SIGTERM': 'somebody or the scheduler ended it; continue with --resume',
}
# torch's SIGCHLD handler knows its workers from these functions. It raises once, and the code that
# it interrupts may swallow the exception.
_set_pids, _remove_pids = signal_handling._set_worker_pids, signal_handling._remove_worker_pids
# Workers of each living loader iterator; any end of theirs with another status than 0 is a failure.
_workers: dict[int, list[BaseProcess]] = {}
# Descriptions of signals by the system, which torch uses in its messages.
_DESCRIBED = {signal.strsignal(each): each.name for each in signal.Signals}


def _set_worker_pids(iterator: int, pids: Sequence[int]) -> None:
    _workers[iterator] = [each for each in multiprocessing.active_children() if each.pid in pids]
    _set_pids(iterator, pids)


def _remove_worker_pids(iterator: int) -> None:
    _workers.pop(iterator, None)
    _remove_pids(iterator)


signal_handling._set_worker_pids = _set_worker_pids
signal_handling._remove_worker_pids = _remove_worker_pids


def dead_worker() -> End | None:
    """For the watchdog: whether a loading worker of this process has died."""
    died = _first_end(0)
    return died and End(_dead(*died), 2, shared=False)


def worker_failure(error: BaseException) -> str | None:
    """Explain a failure of training by a loading worker, in one line.

    Training often fails with a broken connection before torch reports the worker, so the state of
    the workers is examined. A worker that hangs is killed, since the end of the run would wait for
    it, and torch's SIGCHLD handler is removed.

    Args:
        error: Raised by training.

    Returns:
        The line; None if no worker died or hung.
    """
    try:
        return _failure(error)
    except RuntimeError as again:
        # torch's SIGCHLD handler may interrupt this function as well.
        if 'DataLoader worker' not in str(again):
            raise
        return _failure(again)


def _failure(error: BaseException) -> str | None:
    texts = [str(each) for each in _chain(error)]
    handler = None
    if current_thread() is main_thread():
        # torch's handler would raise again in the code below whenever a child ends, until all are
        # joined.
        handler = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    died = _first_end(_PATIENCE if any(isinstance(each, (OSError, EOFError))
                                       for each in _chain(error)) else 0) or _end_by(texts)
    late = next((found[1] for text in texts if (found := re.search(
        r'DataLoader timed out after (\d+(?:\.\d+)?) seconds', text))), None)
    if died is None and late is None:
        if handler is not None:
            signal.signal(signal.SIGCHLD, handler)
        return None
    # The next loader of this process, if there is one, installs it again.
    signal_handling._SIGCHLD_handler_set = False
    return _hanging(late) if died is None else _dead(*died)


def _first_end(patience: float) -> tuple[int, str] | None:
    """Return process id and end of a worker that died."""
    begin = time.monotonic()
    while True:
        for worker in [each for workers in list(_workers.values()) for each in workers]:
            if end := _end_of(worker):
                return worker.pid, end
        if time.monotonic() - begin >= patience:
            return None
        time.sleep(.05)


def _end_of(worker: BaseProcess) -> str | None:
    """Exit code or signal; None if it lives or ended with status 0."""
    with suppress(ChildProcessError):
        end = os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if end is None or not end.si_status:
            return None
        return (str(end.si_status) if end.si_code == os.CLD_EXITED
                else signal.Signals(end.si_status).name)
    # It has been joined.
    code = worker.exitcode or 0
    return signal.Signals(-code).name if code < 0 else str(code) if code else None


def _end_by(texts: list[str]) -> tuple[int, str] | None:
    """The same from torch's messages, the most specific first."""
    for pattern in (r'worker \(pid (\d+)\) is killed by signal: ([A-Za-z ]+)',
                    r'worker \(pid (\d+)\) exited unexpectedly with exit code (\d+)',
                    r'worker \(pid\(s\) (\d+).*\) exited unexpectedly()'):
        for text in texts:
            if found := re.search(pattern, text):
                return int(found[1]), _DESCRIBED.get(found[2].strip(), found[2].strip())
    return None


def _dead(pid: int, end: str) -> str:
    numbers = [number for watch in live_watches() if (number := watch.number(pid)) is not None]
    readings = [reading for watch in live_watches() if (reading := watch.of(pid)) is not None]
    who = f'loading worker {numbers[0]} (pid {pid})' if numbers else f'loading worker (pid {pid})'
    over = f' while it read {_names(readings[0])}' if readings else ''
    if end.startswith('SIG'):
        return f'{who} was killed by {end}{over}: {_MEANINGS.get(end, "continue with --resume")}'
    code = f' with exit code {end}' if end else ''
    return (f'{who} ended{code}{over}, without a word; --cfg-options '
            'train_dataloader.num_workers=0 shows where')


def _hanging(seconds: str) -> str:
    readings = sorted((reading for watch in live_watches() for reading in watch.all()
                       if _is_living_child(reading.pid)), key=lambda reading: -reading.seconds)
    limit = f'no batch for {seconds} s (train_dataloader.timeout)'
    if not readings:
        return (f'{limit}, and no loading worker is reading: the machine is overloaded, or a '
                'collate function waits; continue with --resume')
    worst = readings[0]
    # It may not react to SIGTERM.
    os.kill(worst.pid, signal.SIGKILL)
    return (f'{limit}: loading worker {worst.worker} (pid {worst.pid}) has been reading '
            f'{_names(worst)} for {worst.seconds:.0f} s; most likely the disk or network does not '
            'answer, or a decoder hangs on that file; continue with --resume, or raise the timeout')


def _is_living_child(pid: int) -> bool:
    # The id of a process that has ended may belong to another one by now.
    with suppress(ChildProcessError):
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    return False


def _names(reading: Reading) -> str:
    names = ', '.join(reading.names)
    more = reading.samples - len(reading.names)
    return f'one of {names} and {more} more' if more else names


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
