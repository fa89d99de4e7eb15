"""torchrun that passes signals on and ends as its processes did; dist_*.sh start it.

torchrun itself answers SIGTERM and SIGINT by ending its processes within 30 s, with all that
they have started, passes SIGUSR1 on to none, and ends with status 1 whatever theirs is. The
processes lead sessions of their own, so Ctrl-C in a terminal reaches this one alone.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from torch.distributed import run
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

PASSED_ON = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
# What the processes have said of themselves in one line: bad input, Ctrl-C, a stop to be resumed.
BAD_INPUT = 2
INTERRUPTED = 128 + signal.SIGINT
EXPLAINED = (BAD_INPUT, INTERRUPTED, 75)


def children() -> list[int]:
    """The training processes: each leads a session of its own, their loading processes do not."""
    found = []
    for stat in Path('/proc').glob('[0-9]*/stat'):
        try:
            # Its name, in brackets, may hold anything.
            parent, _, session = stat.read_text().rpartition(')')[2].split()[1:4]
        except OSError:
            continue  # it has ended
        if int(parent) == os.getpid() and session == stat.parent.name:
            found.append(int(stat.parent.name))
    return found


def pass_on(number: int, _) -> None:
    """Give a signal to each training process."""
    processes = children()
    if not processes:
        sys.exit(128 + number)
    for process in processes:
        os.kill(process, number)


def status_of(error: ChildFailedError) -> int:
    """The status of the process that failed by itself, not because another one did."""
    codes = [failure.exitcode for failure in
             sorted(error.failures.values(), key=lambda failure: failure.timestamp)]
    # Times are whole seconds, and others soon find their connection to a failed one closed.
    for cause, code in ((BAD_INPUT, BAD_INPUT), (INTERRUPTED, INTERRUPTED),
                        (-signal.SIGINT, INTERRUPTED)):
        if cause in codes:
            return code
    return next((code for code in codes if code > 0), 128 - codes[0])


def main() -> None:
    """Start the processes and wait for them."""
    for number in PASSED_ON:
        # A job in the background of a shell ignores SIGINT: Ctrl-C is not for it.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, pass_on)
    # Before torch 2.9 it cannot be kept from SIGTERM: that is answered in its own way then.
    known = '--signals-to-handle' in run.get_args_parser().format_help()
    leave = ['--signals-to-handle', 'SIGHUP,SIGQUIT'] if known else []
    try:
        run.run(run.parse_args([*leave, *sys.argv[1:]]))
    except SignalException as error:
        sys.exit(128 + error.sigval)
    except ChildFailedError as error:
        status = status_of(error)
        if status not in EXPLAINED:
            print(error, file=sys.stderr)
        if status == INTERRUPTED:
            # Ended by the signal itself, so that the loop of a shell script ends, too.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        sys.exit(status)


if __name__ == '__main__':
    main()
