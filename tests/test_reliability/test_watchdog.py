"""The watchdog, in processes of its own that it ends."""

import os
import threading
import time

import pytest
from forked_process import ForkedProcess

from amt_mm.reliability import watchdog as watchdog_module
from amt_mm.reliability.watchdog import End, Watchdog, parent_watch

LOST = End('the cat is gone', 7)


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(watchdog_module, 'INTERVAL', .02)


@pytest.fixture
def run(tmp_path):
    """Status and lines of a forked process."""
    return lambda work: ForkedProcess(work, tmp_path / 'errors').wait()


def test_a_main_thread_that_waits_for_ever_is_ended(run):
    def work():
        watchdog = Watchdog()
        watchdog.tell = lambda end: print('told', end.status, file=os.sys.stderr)
        watchdog.add(lambda: LOST)
        threading.Lock().acquire() and threading.Semaphore(0).acquire()

    assert run(work) == (7, ['error: the cat is gone', 'told 7'])


def test_a_reason_that_passes_is_none(run):
    def work():
        looks = iter([LOST, LOST, LOST, LOST, None] * 3)
        Watchdog().add(lambda: next(looks, None))
        time.sleep(.6)
        assert next(looks, 'all') == 'all'

    assert run(work) == (0, [])


def test_the_main_thread_has_time_to_say_it_better(run):
    def work():
        watchdog = Watchdog()
        with watchdog.watching(lambda: LOST):
            time.sleep(.04)
        time.sleep(.3)

    assert run(work) == (0, [])


def test_once_it_has_nothing_to_say_it_is_ended_soon(run):
    def work():
        watchdog = Watchdog()
        watchdog_module.INTERVAL = .5
        watchdog.add(lambda: LOST)
        watchdog.hurry(1.5)
        os._exit(1)  # five looks would take longer

    assert run(work)[0] == 7


def test_of_what_all_processes_of_a_machine_find_the_first_says_it(run, monkeypatch):
    monkeypatch.setenv('LOCAL_RANK', '1')
    monkeypatch.setenv('RANK', '5')

    def work(shared):
        Watchdog().add(lambda: End('line', 3, shared))
        time.sleep(9)

    assert run(lambda: work(True)) == (3, [])
    assert run(lambda: work(False)) == (3, ['error (rank 5): line'])


def test_a_forked_process_has_a_thread_of_its_own(run):
    watchdog = Watchdog()
    with watchdog.watching(lambda: None):
        def work():
            watchdog.add(lambda: LOST)
            time.sleep(9)

        assert run(work)[0] == 7


@pytest.mark.slow
def test_a_process_ends_with_its_launcher(tmp_path):
    def launch_and_die():
        parent = os.getpid()
        if os.fork():
            time.sleep(.2)
            os.kill(parent, 9)
        (tmp_path / 'pid').write_text(str(os.getpid()))
        Watchdog().add(parent_watch(parent))
        time.sleep(30)
        (tmp_path / 'lived').touch()

    status, _ = ForkedProcess(launch_and_die, tmp_path / 'errors').wait()
    assert status == -9
    _wait_for_end(int((tmp_path / 'pid').read_text()))
    line, = (tmp_path / 'errors').read_text().splitlines()
    assert line.startswith('error: the launcher (process ')
    assert line.endswith('continue with --resume')
    assert not (tmp_path / 'lived').exists()


def _wait_for_end(pid):
    end = time.monotonic() + 10
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(.05)
    raise AssertionError(f'process {pid} lives')
