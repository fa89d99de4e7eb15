"""Property-based tests whose cases are counted as they pass.

The same cases in every run, so that a failure is one of the change at hand. A hunt draws others,
so many times as many: ``FUZZ_TIMES=50 pytest tests/test_fuzz``. What it finds is printed with a
``reproduce_failure`` line, and comes first in the next hunt.
"""

import functools
import os
import time

from hypothesis import HealthCheck, given, settings

TIMES = int(os.environ.get('FUZZ_TIMES', 0))
# Test -> cases that passed and seconds that they took.
PASSED = {}


def fuzz(cases, **strategies):
    """A test of ``cases`` drawn cases; other arguments are fixtures, shared by all of them."""

    def decorate(test):
        @functools.wraps(test)
        def counted(*args, **kwargs):
            start = time.perf_counter()
            test(*args, **kwargs)
            number, seconds = PASSED.get(test.__qualname__, (0, 0))
            PASSED[test.__qualname__] = number + 1, seconds + time.perf_counter() - start

        return settings(
            max_examples=cases * max(TIMES, 1), derandomize=not TIMES, deadline=None,
            print_blob=True, suppress_health_check=list(HealthCheck))(
                given(**strategies)(counted))

    return decorate
