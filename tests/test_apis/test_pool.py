"""Tasks take turns at their places; a failure is reported and stops nothing."""

import threading

import pytest
from said_soon import said_soon

from amt_mm.apis.pool import run_pool, run_together
from amt_mm.errors import InputError, RunError


def test_tasks_start_in_order_and_failures_are_named_in_it(capsys):
    ran = []

    def task(name, error=None):
        def run(place):
            ran.append((name, place))
            if error:
                raise error
        return run

    after = []
    failed = run_pool({'a': task('a', InputError('no such image')), 'b': task('b'),
                       'c': task('c', KeyError('bug'))}, ['gpu 3'], lambda: after.append(1))
    assert ran == [('a', 'gpu 3'), ('b', 'gpu 3'), ('c', 'gpu 3')]
    assert failed == {'a': 'no such image', 'c': "KeyError: 'bug'"} and len(after) == 1
    # A bug has a traceback, an error of the user has not.
    assert capsys.readouterr().out.count('Traceback') == 1


def test_places_are_used_at_the_same_time():
    together = threading.Barrier(2, timeout=30)
    places = []

    def run(place):
        places.append(place)
        together.wait()

    assert run_pool({'a': run, 'b': run}, [0, 1]) == {}
    assert sorted(places) == [0, 1]


def test_the_first_failure_is_said_at_once_and_raised_at_the_end(capsys):
    said = []

    def fail(error):
        raise error

    tasks = {'a': lambda: fail(InputError('no such image')), 'b': lambda: fail(RunError('later')),
             'c': lambda: said.append(said_soon(capsys, 'failed: a: no such image'))}
    with pytest.raises(InputError, match='no such image'):
        run_together(tasks, 1)
    assert said == [True]
