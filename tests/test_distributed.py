"""Ranks stop together when one fails, and follow what rank 0 decides."""

import threading

import pytest
from threaded_ranks import ThreadedRanks

from amt_mm import distributed
from amt_mm.distributed import from_rank0, run_on_all_ranks
from amt_mm.errors import InputError


@pytest.fixture
def ranks(monkeypatch):
    return ThreadedRanks(monkeypatch, distributed)


def test_any_error_of_one_process_stops_all(ranks):
    def step(rank):
        if rank == 1:
            raise OSError(5, 'Input/output error')
        return rank

    errors = ranks(3, lambda rank: run_on_all_ranks(lambda: step(rank)))
    assert [type(error) for error in errors] == [InputError, OSError, InputError]
    assert 'Input/output error' in str(errors[0])


def test_each_has_its_own_result(ranks):
    assert ranks(3, lambda rank: run_on_all_ranks(lambda: 10 * rank)) == [0, 10, 20]


def test_the_first_process_decides(ranks):
    asked = []

    def decide():
        asked.append(threading.current_thread())
        return f'of {ranks.rank}'

    assert ranks(3, lambda rank: from_rank0(decide)) == ['of 0'] * 3
    assert len(asked) == 1


def test_the_first_process_refuses_for_all(ranks):
    def refuse():
        raise InputError('no')

    errors = ranks(3, lambda rank: from_rank0(refuse))
    assert [str(error) for error in errors] == ['no'] * 3
    assert {type(error) for error in errors} == {InputError}


def test_one_process_alone_needs_no_group(tmp_path):
    assert from_rank0(lambda: tmp_path) == tmp_path
    with pytest.raises(ZeroDivisionError):
        from_rank0(lambda: 1 / 0)
