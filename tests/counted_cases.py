"""Property-based tests whose cases are counted as they pass.

The same cases in every run, so that a failure is one of the change at hand. ``FUZZ_TIMES`` below 1
runs that share of them. From 1 on it is a hunt, which draws others, so many times as many:
``FUZZ_TIMES=50 pytest tests/test_fuzz``. What it finds is printed with a ``reproduce_failure``
line, and comes first in the next hunt.
"""

import functools
import os

import pytest
from hypothesis import HealthCheck, given, settings

TIMES = float(os.environ.get('FUZZ_TIMES', 0))
# Test -> cases that passed.
PASSED = {}


def fuzz(cases, **strategies):
    """A test of ``cases`` drawn cases; other arguments are fixtures, shared by all of them."""

    def decorate(test):
        @functools.wraps(test)
        def counted(*args, **kwargs):
            test(*args, **kwargs)
            PASSED[test.__name__] = PASSED.get(test.__name__, 0) + 1

        return pytest.mark.fuzz(settings(
            max_examples=max(1, round(cases * (TIMES or 1))), derandomize=TIMES < 1,
            deadline=None, print_blob=True, suppress_health_check=list(HealthCheck))(
                given(**strategies)(counted)))

    return decorate
