"""torchrun that passes signals on and ends as its processes did; dist_*.sh start it.

torchrun itself answers SIGTERM and SIGINT by ending its processes within 30 s, with all that
they have started, passes SIGUSR1 on to none, restarts processes that were told to stop or refused
their input, and ends with status 1 whatever theirs is. The processes lead sessions of their own, so
Ctrl-C in a terminal reaches this one alone.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path
from typing import NoReturn

from torch.distributed import DistError, launcher, run
from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing.api import SignalException
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.elastic.rendezvous import RendezvousError

PASSED_ON = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)
# What the processes have said of themselves in one line: bad input, Ctrl-C, a stop to be resumed.
BAD_INPUT = 2
INTERRUPTED = 128 + signal.SIGINT
REQUEUE = 75
EXPLAINED = (BAD_INPUT, INTERRUPTED, REQUEUE)
# Seconds for which machines wait for each other, at the start and when one is lost.
PATIENCE = 600
LOOK = 5


class Agent(LocalElasticAgent):
    """torchrun's own, which restarts nothing that was told to stop or refused its input.

    Attributes:
        told: Whether this process was told to stop.
        begun: Whether there have been training processes.
    """

    told = begun = False

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        type(self).begun = True
        result = super()._monitor_workers(worker_group)
        codes = [failure.exitcode for failure in result.failures.values()]
        if self.told or BAD_INPUT in codes:
            self._remaining_restarts = 0
        return result


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
    Agent.told = True
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


def address_towards(host: str, port: int) -> str:
    """This machine's address in the network of another one, which needs no name service."""
    family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.connect(place)  # sends nothing
        return probe.getsockname()[0]


def give_up_waiting() -> None:
    """End where there have been no training processes for long.

    torchrun waits for machines that do not come, and on a connection that is cut until the
    system gives it up, a quarter of an hour later.
    """
    waited = 0
    while waited < PATIENCE:
        time.sleep(LOOK)
        waited = 0 if children() else waited + LOOK
    fail(f'the machines of this run have not met for {PATIENCE} s')


def fail(line: str) -> NoReturn:
    """End at once; nothing of torchrun's may wait for the network any more."""
    again = '; continue with --resume' if Agent.begun else ''
    print(f'error: {line}{again}', file=sys.stderr, flush=True)
    os._exit(REQUEUE if Agent.begun else 1)


def main() -> None:
    """Start the processes and wait for them."""
    # By which they know that they have lost it.
    os.environ['AMT_MM_LAUNCHER'] = str(os.getpid())
    launcher.api.LocalElasticAgent = Agent
    for number in PASSED_ON:
        # A job in the background of a shell ignores SIGINT: Ctrl-C is not for it.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, pass_on)
    # Before torch 2.9 it cannot be kept from SIGTERM: that is answered in its own way then.
    known = '--signals-to-handle' in run.get_args_parser().format_help()
    leave = ['--signals-to-handle', 'SIGHUP,SIGQUIT'] if known else []
    arguments = run.parse_args([*leave, *sys.argv[1:]])
    threading.Thread(target=give_up_waiting, daemon=True).start()
    try:
        if arguments.rdzv_endpoint and arguments.local_addr is None:
            host, _, port = arguments.rdzv_endpoint.rpartition(':')
            arguments.local_addr = address_towards(host, int(port))
        run.run(arguments)
    except SignalException as error:
        sys.exit(128 + error.sigval)
    except ChildFailedError as error:
        status = status_of(error)
        if status > 128:
            print(f'error: a training process was killed by {signal.Signals(status - 128).name} '
                  '(SIGKILL most likely means that memory ran out); continue with --resume',
                  file=sys.stderr)
        elif status not in EXPLAINED:
            print(error, file=sys.stderr)
        if status == INTERRUPTED:
            # Ended by the signal itself, so that the loop of a shell script ends, too.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)
        sys.exit(status)
    except (DistError, RendezvousError, OSError) as error:
        reason = str(error).partition('\n')[0] or type(error).__name__
        fail('the machines of this run cannot meet at '
             f'{arguments.rdzv_endpoint or arguments.master_addr} ({reason})')


if __name__ == '__main__':
    main()
