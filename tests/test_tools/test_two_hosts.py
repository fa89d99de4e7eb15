"""Training on two hosts: network namespaces that one cable joins, which can be pulled out."""

import os
import shutil
import signal
import subprocess
import time

import pytest
import torch
from line_task import enter, slope_of, write_task
from slow_line_task import start_training, step_of, unbroken_slope, wait_until, write_slow_task

from amt_mm.errors import REQUEUE_STATUS

LIMIT = 12


def ip(*arguments):
    return subprocess.run(['ip', *map(str, arguments)], capture_output=True, text=True)


def why_not():
    """Why there can be no namespaces here, if so."""
    if torch.cuda.is_available():
        return 'processes on the CPU'
    if os.geteuid() != 0 or shutil.which('ip') is None:
        return 'needs root and iproute2 (the command ip)'
    name = f'amt-try-{os.getpid()}'
    made = ip('netns', 'add', name)
    ip('netns', 'delete', name)
    return made.stderr.strip()


pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or 'no')]


class TwoHosts:
    """10.77.0.1 and 10.77.0.2, and their training processes."""

    def __init__(self, task, work_dir):
        self._task, self._work_dir = task, work_dir
        self._names = [f'amt{os.getpid()}-{host}' for host in (0, 1)]
        self.started = []
        for name in self._names:
            ip('netns', 'add', name)
        ip('link', 'add', 'cable0', 'netns', self._names[0], 'type', 'veth', 'peer', 'name',
           'cable1', 'netns', self._names[1])
        for host, name in enumerate(self._names):
            ip('-n', name, 'address', 'add', f'10.77.0.{host + 1}/24', 'dev', f'cable{host}')
            ip('-n', name, 'link', 'set', 'lo', 'up')
            self.set_link(host, 'up')

    def set_link(self, host, state):
        assert ip('-n', self._names[host], 'link', 'set', f'cable{host}', state).returncode == 0

    def start(self, host, *arguments, **environment):
        self.started.append(start_training(
            self._task, 'a.py', 1, self._work_dir, *arguments,
            '--cfg-options', f'env_cfg.dist_cfg.timeout={LIMIT}',
            within=['ip', 'netns', 'exec', self._names[host]], NNODES='2', NODE_RANK=str(host),
            MASTER_ADDR='10.77.0.1', PORT='29517', GLOO_SOCKET_IFNAME=f'cable{host}',
            **environment))
        return self.started[-1]

    def kill(self, host):
        """As if its plug were pulled."""
        for pid in ip('netns', 'pids', self._names[host]).stdout.split():
            os.kill(int(pid), signal.SIGKILL)

    def close(self):
        for host, name in enumerate(self._names):
            self.kill(host)
            ip('netns', 'delete', name)
        for process in self.started:
            process.communicate()


@pytest.fixture
def hosts(tmp_path, monkeypatch):
    task = write_task(tmp_path)
    enter(task, tmp_path, monkeypatch)
    two = TwoHosts(task, tmp_path / 'run')
    yield two
    two.close()


def lines(errors):
    """What amt_mm says, beside torch and MMEngine."""
    return [line for line in errors.splitlines() if line.startswith(('error', 'Traceback'))]


def test_a_blip_is_survived_and_a_cut_ends_both_sides(hosts, tmp_path):
    write_slow_task(tmp_path, tmp_path / 'a.py', epochs=900, interval=900)
    processes = [hosts.start(host) for host in (0, 1)]
    wait_until(lambda: step_of(tmp_path / 'run', 1) >= 4)
    hosts.set_link(1, 'down')
    time.sleep(LIMIT / 3)
    hosts.set_link(1, 'up')
    step = step_of(tmp_path / 'run', 1)
    wait_until(lambda: step_of(tmp_path / 'run', 1) > step + 2, LIMIT)

    hosts.set_link(1, 'down')
    begin = time.monotonic()
    for rank, process in enumerate(processes):
        errors = process.communicate(timeout=LIMIT + 60)[1]
        assert process.returncode == REQUEUE_STATUS, errors
        line, = lines(errors)
        assert (f'nothing was heard from rank {1 - rank} on ' in line
                and f' for {LIMIT} s (env_cfg.dist_cfg.timeout)' in line)
    assert time.monotonic() - begin < LIMIT + 20


def test_a_host_comes_back_and_the_run_ends_as_an_unbroken_one(hosts, tmp_path):
    write_slow_task(tmp_path, tmp_path / 'a.py', epochs=30, interval=5)
    first, second = [hosts.start(host, '--resume', MAX_RESTARTS='1') for host in (0, 1)]
    wait_until(lambda: (tmp_path / 'run/epoch_5.pth').exists())
    hosts.kill(1)
    second.wait()
    again = hosts.start(1, '--resume', MAX_RESTARTS='1')
    for process in (first, again):
        errors = process.communicate(timeout=120)[1]
        assert process.returncode == 0, errors
    assert slope_of('run/epoch_30.pth') == unbroken_slope(60)
