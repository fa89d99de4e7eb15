"""Tasks take turns at their places; a failure is reported and stops nothing."""

import threading

from amt_mm.errors import InputError
from lab.study.pool import run_pool


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
