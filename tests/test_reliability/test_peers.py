"""Signs of life between forked processes that are stopped, killed, or busy for long."""

import functools
import os
import signal
import socket
import time

import pytest
import torch
from forked_process import ForkedProcess
from torch import distributed

from amt_mm.errors import REQUEUE_STATUS, InputError
from amt_mm.reliability import peers as peers_module
from amt_mm.reliability import watchdog as watchdog_module
from amt_mm.reliability.peers import exchange_timeout, silence_limit, watch_peers
from amt_mm.reliability.watchdog import End, watchdog

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason='processes on the CPU')
LIMIT = 1.


@pytest.fixture
def ranks(tmp_path, monkeypatch):
    """Status and lines of processes of a group that watch each other, each with its work."""
    for module in (watchdog_module, peers_module):
        monkeypatch.setattr(module, 'INTERVAL', .05)

    def one(rank, count, work):
        os.environ.update(RANK=str(rank), MASTER_ADDR='127.0.0.1')
        distributed.init_process_group('gloo', init_method=f'file://{tmp_path}/group', rank=rank,
                                       world_size=count)
        watch_peers(LIMIT)
        work()

    def run(*works):
        processes = [ForkedProcess(functools.partial(one, rank, len(works), work),
                                   tmp_path / f'errors{rank}') for rank, work in enumerate(works)]
        try:
            return [process.wait() for process in processes]
        finally:
            for process in processes:
                process.kill()

    return run


def work_long():
    time.sleep(20)


def stop_a_while():
    # SIGCONT comes from a process that is not stopped itself.
    pid = os.getpid()
    if os.fork() == 0:
        time.sleep(3 * LIMIT)
        os.kill(pid, signal.SIGCONT)
        os._exit(0)
    time.sleep(.3)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(20)


@pytest.mark.slow
@pytest.mark.parametrize('silent', [0, 1])
def test_silence_ends_both(ranks, silent):
    works = [work_long, work_long]
    works[silent] = stop_a_while
    results = ranks(*works)
    begin = 'error' if silent else 'error (rank 1)'
    status, (line,) = results[1 - silent]
    assert status == REQUEUE_STATUS
    assert line == (f'{begin}: nothing was heard from rank {silent} on {socket.gethostname()} for '
                    '1 s (env_cfg.dist_cfg.timeout): that machine or the network to it is down; '
                    'continue with --resume')
    # The one that was stopped blames nobody: it was told.
    status, (line,) = results[silent]
    assert status == REQUEUE_STATUS and f'nothing was heard from rank {silent}' in line


def test_one_that_is_killed_ends_all_and_all_name_it(ranks):
    def die():
        time.sleep(.3)
        os.kill(os.getpid(), signal.SIGKILL)

    first, second, third = ranks(work_long, die, work_long)
    assert second == (-signal.SIGKILL, [])
    for status, (line,) in (first, third):
        assert status == REQUEUE_STATUS
        assert f'rank 1 on {socket.gethostname()} was killed, or its machine went down' in line


def test_without_the_first_the_others_end(ranks):
    def die():
        time.sleep(.3)
        os.kill(os.getpid(), signal.SIGKILL)

    _, *others = ranks(die, work_long, work_long)
    for status, (line,) in others:
        assert status == REQUEUE_STATUS and 'rank 0 on ' in line and 'was killed' in line


def test_one_that_says_why_it_ends_gives_the_others_its_status(ranks):
    def refuse():
        time.sleep(.3)
        watchdog.leave(End('see its own message', 2))

    first, _, third = ranks(work_long, refuse, work_long)
    for status, (line,) in (first, third):
        assert status == 2
        assert line.endswith(f'rank 1 on {socket.gethostname()} has ended: see its own message')


@pytest.mark.slow
def test_long_work_and_an_early_end_are_no_reason(ranks):
    def works_long_and_is_done():
        time.sleep(2 * LIMIT)
        distributed.barrier()
        watchdog.leave()

    def waits_and_goes_on():
        distributed.barrier()
        time.sleep(2 * LIMIT)

    assert ranks(works_long_and_is_done, waits_and_goes_on) == [(0, []), (0, [])]


def test_strangers_are_not_heard(ranks, tmp_path):
    def first():
        port = watchdog.tell.__self__._server.getsockname()[1]
        strangers = []
        for message in (b'', b'\n', b'[75, "no"]\n', b'["token", "no"]\n', b'null\n', b'\xff{\n'):
            strangers.append(socket.create_connection(('127.0.0.1', port)))
            strangers[-1].sendall(message)
        time.sleep(2 * LIMIT)

    assert ranks(first, lambda: time.sleep(2 * LIMIT)) == [(0, []), (0, [])]


def test_no_way_to_the_first_is_a_warning(ranks, monkeypatch):
    def refuse(*_):
        raise ConnectionRefusedError(111, 'Connection refused')

    monkeypatch.setattr(socket, 'create_connection', refuse)
    first, (status, (line,)) = ranks(*[lambda: time.sleep(2 * LIMIT)] * 2)
    assert first == (0, []) and status == 0
    assert line.startswith('warning (rank 1): rank 1 on ') and 'Connection refused' in line


def test_the_limits():
    assert (silence_limit(None), exchange_timeout(None).total_seconds()) == (120, 1800)
    cfg = dict(dist_cfg=dict(backend='nccl', timeout=20))
    assert (silence_limit(cfg), exchange_timeout(cfg).total_seconds()) == (20, 1800)
    cfg['dist_cfg']['timeout'] = 7200
    assert (silence_limit(cfg), exchange_timeout(cfg).total_seconds()) == (7200, 7200)
    for wrong in (0, -1, '60', None, float('nan')):
        with pytest.raises(InputError, match='env_cfg.dist_cfg.timeout is a number of seconds'):
            silence_limit(dict(dist_cfg=dict(timeout=wrong)))
