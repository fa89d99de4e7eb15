"""Loading workers that die or hang, truly: the line names them and what they were reading."""

import faulthandler
import os
import re
import signal
import time
import weakref

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import amt_mm.registry  # noqa: F401  before mmpretrain
from amt_mm.datasets import ReplacingDataset
from amt_mm.reliability import worker_failure as worker_failure_module
from amt_mm.reliability.worker_failure import worker_failure


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
    made = ReplacingDataset(dataset, tmp_path, workers=workers)
    loader = DataLoader(made, batch_size, num_workers=workers, timeout=timeout)
    begin = time.monotonic()
    try:
        for _ in loader:
            time.sleep(.01)
    except (RuntimeError, OSError, EOFError) as error:
        line = worker_failure(error)
    # Here the loader goes, with its workers.
    del loader
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


def test_a_worker_that_hangs(tmp_path):
    line = failure(Numbers(lambda: time.sleep(99), at=4), tmp_path, timeout=1)
    assert re.match(r'no batch for 1(\.0)? s \(train_dataloader\.timeout\): loading worker 0 '
                    r'\(pid \d+\) has been reading folder/4\.jpg for [1-9]\d* s', line)


def test_of_a_batch_that_is_read_at_once_the_first_are_named(tmp_path):
    line = failure(AtOnce(die(signal.SIGKILL)), tmp_path, batch_size=5)
    assert 'read one of folder/5.jpg, folder/6.jpg, folder/7.jpg and 2 more' in line


def test_the_second_of_two_sets_of_workers_is_found(tmp_path):
    sound = DataLoader(ReplacingDataset(Numbers(), tmp_path, workers=2), 1, num_workers=2,
                       persistent_workers=True)
    assert len(list(sound)) == 10
    assert 'worker 1' in failure(Numbers(die(signal.SIGKILL)), tmp_path)


@pytest.mark.parametrize('error', [RuntimeError('shapes do not fit'), ValueError('DataLoader'),
                                   KeyError(1)])
def test_other_errors_are_none_of_it(error):
    assert worker_failure(error) is None


def test_sound_workers_leave_no_trace(tmp_path):
    made = ReplacingDataset(Numbers(), tmp_path, workers=2)
    assert [int(batch) for batch in DataLoader(made, 1, num_workers=2)] == list(range(10))
    assert made.watch.all() == [] and (made.watch._rows[:, 0] > 0).all()


def test_it_looks_past_objects_that_are_dead_already():
    dead = weakref.proxy(Numbers())
    assert worker_failure_module._end_of(2**22 + 1) is None
    with pytest.raises(ReferenceError):
        isinstance(dead, Dataset)
