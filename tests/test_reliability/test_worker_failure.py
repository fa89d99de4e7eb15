"""Loading workers that die or hang, truly: the line names them and what they were reading."""

import faulthandler
import multiprocessing
import os
import random
import re
import signal
import time
from contextlib import suppress
from datetime import timedelta
from threading import Timer

import pytest
import torch
from forked_process import ForkedProcess
from torch import distributed
from torch.utils.data import DataLoader, Dataset

import amt_mm.registry  # noqa: F401  before mmpretrain
from amt_mm.datasets import ReplaceBadImages
from amt_mm.reliability import watchdog as watchdog_module
from amt_mm.reliability.watchdog import Watchdog
from amt_mm.reliability.worker_failure import dead_worker, worker_failure


class Numbers(Dataset):
    """Ten numbers, of which one does what it is told."""

    def __init__(self, fault=None, at=7):
        self.fault, self.at = fault, at

    def __len__(self):
        return 10

    def get_data_info(self, index):
        return {'img_path': f'folder/{index}.jpg'}

    def __getitem__(self, index):
        if index == self.at and self.fault:
            self.fault()
        return torch.tensor(index)


class AtOnce(Numbers):
    """The same, of which batches are asked for at once."""

    def __getitems__(self, indices):
        return [self[index] for index in indices]


def die(number):
    def fault():
        faulthandler.disable()  # pytest's, which would print what is meant here
        os.kill(os.getpid(), number)

    return fault


def failure(dataset, tmp_path, workers=2, timeout=0, batch_size=1):
    made = ReplaceBadImages(dataset, tmp_path, workers=workers)
    loader = DataLoader(made, batch_size, num_workers=workers, timeout=timeout)
    begin = time.monotonic()
    try:
        for _ in loader:
            time.sleep(.01)
    except (RuntimeError, OSError, EOFError) as error:
        line = worker_failure(error)
    finally:
        # Here the loader goes, with its workers, which else the tests behind would find dead.
        del loader, made
    assert time.monotonic() - begin < 20 and '\n' not in line
    return line


@pytest.mark.parametrize(('number', 'reason'), [
    (signal.SIGKILL, r'killed by SIGKILL while it read folder/7\.jpg: .*out of memory'),
    (signal.SIGBUS, r'killed by SIGBUS while it read folder/7\.jpg: .*/dev/shm'),
    (signal.SIGSEGV, r'killed by SIGSEGV while it read folder/7\.jpg: .*decoder'),
    (signal.SIGABRT, r'killed by SIGABRT while it read folder/7\.jpg: .*library'),
    (signal.SIGTERM, r'killed by SIGTERM while it read folder/7\.jpg: .*scheduler'),
])
def test_a_worker_that_is_killed(tmp_path, number, reason):
    line = failure(Numbers(die(number)), tmp_path)
    assert re.match(r'loading worker 1 \(pid \d+\) ', line) and re.search(reason, line)


def test_a_worker_that_ends_by_itself(tmp_path):
    line = failure(Numbers(lambda: os._exit(3)), tmp_path)
    assert re.match(r'loading worker 1 \(pid \d+\) ended.* while it read folder/7\.jpg', line)


@pytest.mark.slow
def test_a_worker_that_hangs(tmp_path):
    line = failure(Numbers(lambda: time.sleep(99), at=4), tmp_path, timeout=1)
    assert re.match(r'no batch for 1(\.0)? s \(train_dataloader\.timeout\): loading worker 0 '
                    r'\(pid \d+\) has been reading folder/4\.jpg for [1-9]\d* s', line)


def test_of_a_batch_that_is_read_at_once_the_first_are_named(tmp_path):
    line = failure(AtOnce(die(signal.SIGKILL)), tmp_path, batch_size=5)
    assert 'read one of folder/5.jpg, folder/6.jpg, folder/7.jpg and 2 more' in line


def test_the_second_of_two_sets_of_workers_is_found(tmp_path):
    sound = DataLoader(ReplaceBadImages(Numbers(), tmp_path, workers=2), 1, num_workers=2,
                       persistent_workers=True)
    assert len(list(sound)) == 10
    assert 'worker 1' in failure(Numbers(die(signal.SIGKILL)), tmp_path)


@pytest.mark.parametrize('error', [RuntimeError('shapes do not fit'), ValueError('DataLoader'),
                                   KeyError(1)])
def test_other_errors_are_none_of_it(error):
    assert worker_failure(error) is None


def test_sound_workers_leave_no_trace(tmp_path):
    made = ReplaceBadImages(Numbers(), tmp_path, workers=2)
    assert [int(batch) for batch in DataLoader(made, 1, num_workers=2)] == list(range(10))
    assert made.watch.all() == [] and (made.watch._rows[:, 0] > 0).all()


# --- noticed whatever the main thread does ---------------------------------------------------


def wait_for_a_batch(loader):
    for _ in loader:
        pass


def wait_in_native_code(loader):
    distributed.HashStore().wait(['never'], timedelta(seconds=60))


def wait_in_python(loader):
    time.sleep(60)


def swallow_the_exception_of_the_handler():
    raises = signal.getsignal(signal.SIGCHLD)

    def handler(*arguments):
        with suppress(RuntimeError):
            raises(*arguments)

    signal.signal(signal.SIGCHLD, handler)


@pytest.fixture
def often(monkeypatch):
    monkeypatch.setattr(watchdog_module, 'INTERVAL', .1)


@pytest.mark.slow
@pytest.mark.parametrize('wait', [wait_for_a_batch, wait_in_native_code, wait_in_python])
@pytest.mark.parametrize('seed', range(4))
def test_a_death_is_noticed_whatever_the_main_thread_does(tmp_path, often, wait, seed):
    chance = random.Random(f'{seed} {wait.__name__}')

    def work():
        made = ReplaceBadImages(Numbers(lambda: time.sleep(99)), tmp_path, workers=3)
        loader = iter(DataLoader(made, 1, num_workers=3, timeout=600))
        swallow_the_exception_of_the_handler()
        victim = loader._workers[chance.randrange(3)].pid
        Timer(chance.uniform(0, .5), os.kill, (victim, signal.SIGKILL)).start()
        with Watchdog().watching(dead_worker):
            wait(loader)

    begin = time.monotonic()
    status, (line,) = ForkedProcess(work, tmp_path / 'errors').wait()
    assert status == 2 and time.monotonic() - begin < 5
    assert re.match(r'error: loading worker .*\(pid \d+\) was killed by SIGKILL', line)


@pytest.mark.slow
def test_the_same_when_another_start_has_joined_it(tmp_path, often):
    def work():
        made = ReplaceBadImages(Numbers(die(signal.SIGKILL)), tmp_path, workers=1)
        loader = iter(DataLoader(made, 1, num_workers=1))
        swallow_the_exception_of_the_handler()
        with suppress(RuntimeError, EOFError, OSError):
            list(loader)
        # Which joins those that have ended, as each start of a process does; it may end later than
        # the exception comes.
        while loader._workers[0] in multiprocessing.active_children():
            time.sleep(.01)
        with Watchdog().watching(dead_worker):
            time.sleep(60)

    assert ForkedProcess(work, tmp_path / 'errors').wait()[0] == 2


def hang_and_die_of_sigterm():
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # torch's handler ends well
    time.sleep(99)


@pytest.mark.slow
def test_workers_that_end_well_or_are_ended_by_torch_are_no_death(tmp_path, often, monkeypatch):
    monkeypatch.setattr(torch.utils.data._utils, 'MP_STATUS_CHECK_INTERVAL', .2)

    def work():
        with Watchdog().watching(dead_worker):
            for persistent in (False, True):
                loader = DataLoader(Numbers(), 1, num_workers=2, persistent_workers=persistent)
                assert len(list(loader)) + len(list(loader)) == 20
            hanging = iter(DataLoader(Numbers(hang_and_die_of_sigterm, at=0), 1, num_workers=1))
            worker = hanging._workers[0]
            time.sleep(.3)
            del hanging
            worker.join()
            assert worker.exitcode == -signal.SIGTERM
            time.sleep(1.5)

    assert ForkedProcess(work, tmp_path / 'errors').wait() == (0, [])
