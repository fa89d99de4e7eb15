"""Checks within a time: what is skipped, and what an error ends."""

import pytest

from lab.gpu_check.check import SKIPPED, Check, Failed, run_checks


@pytest.fixture(autouse=True)
def _no_collection(monkeypatch):
    """Collecting garbage takes longer than all the rest."""
    monkeypatch.setattr('gc.collect', lambda: 0)


class Clock:
    """Seconds, which pass only while something works."""

    seconds = 0

    def __call__(self):
        return self.seconds

    def work(self, seconds, **cells):
        def wait():
            self.seconds += seconds
            return cells
        return wait


def outcomes(lines):
    return [line['outcome'] for line in lines]


def test_a_check_begins_if_the_longest_so_far_would_fit():
    clock = Clock()
    checks = [Check('a', str(i), clock.work(seconds)) for i, seconds in enumerate((10, 30, 5, 5))]
    lines = list(run_checks(checks, 80, clock))
    # After 45 s, 35 are left: enough for another of 30.
    assert outcomes(lines) == ['measured'] * 4
    assert [line['seconds'] for line in lines] == [10, 30, 5, 5]
    clock.seconds = 0
    assert outcomes(run_checks(checks, 70, clock)) == ['measured', 'measured', SKIPPED, SKIPPED]


def test_an_error_ends_its_check_alone():
    def fail(error):
        raise error

    lines = list(run_checks([
        Check('a', '1', lambda: fail(Failed('it is wrong'))),
        Check('a', '2', lambda: fail(ValueError('one\ntwo'))),
        Check('a', '3', lambda: {'outcome': 'well', 'batch': 7})], 60))
    assert outcomes(lines) == ['failed: it is wrong', 'failed: ValueError: one', 'well']
    assert [line['failed'] for line in lines] == [True, True, False]
    assert lines[2]['batch'] == 7
