"""One work folder for all processes, here threads that exchange as processes would."""

import pytest
from threaded_ranks import ThreadedRanks

from amt_mm import distributed
from amt_mm.errors import InputError
from amt_mm.reliability import agreement
from amt_mm.reliability.agreement import check_shared


@pytest.fixture
def ranks(monkeypatch):
    return ThreadedRanks(monkeypatch, agreement, distributed)


def test_a_folder_that_all_see_is_left_as_it_was(ranks, tmp_path):
    assert ranks(3, lambda rank: check_shared(tmp_path)) == [None] * 3
    assert list(tmp_path.iterdir()) == []


def test_a_disk_of_ones_own_is_refused_by_all(ranks, tmp_path, monkeypatch):
    monkeypatch.setattr(agreement.socket, 'gethostname', lambda: f'node{ranks.rank}')
    monkeypatch.setattr(agreement.time, 'sleep', lambda seconds: None)
    for name in ('shared', 'local'):
        (tmp_path / name).mkdir()
    errors = ranks(3, lambda rank: check_shared(tmp_path / ('local' if rank == 2 else 'shared')))
    assert {type(error) for error in errors} == {InputError}
    line, = {str(error) for error in errors}
    assert line.startswith(f'work_dir {tmp_path}/shared is not the same folder for all processes: '
                           'rank 2 on node2 does not see what rank 0 on node0 writes there; put it '
                           'on a disk that all machines share')
    assert list(tmp_path.glob('*/*')) == []


def test_a_network_file_system_may_be_late(ranks, tmp_path, monkeypatch):
    for name in ('real', 'late'):
        (tmp_path / name).mkdir()

    def arrive(seconds):
        for file in (tmp_path / 'real').iterdir():
            (tmp_path / 'late' / file.name).touch()

    monkeypatch.setattr(agreement.time, 'sleep', arrive)
    assert ranks(2, lambda rank: check_shared(tmp_path / ('real', 'late')[rank])) == [None] * 2
