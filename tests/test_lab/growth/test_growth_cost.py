"""Time and memory of a call, against sizes that are known."""

import mmap
import time

import numpy as np
import pytest

from lab.growth.cost import cost


@pytest.fixture(autouse=True)
def _no_collection(monkeypatch):
    """Collecting garbage takes longer than all the rest."""
    monkeypatch.setattr('gc.collect', lambda: 0)


def test_memory_is_counted_at_its_highest_and_at_the_end():
    def taken(count):
        # Pages of its own: malloc may hand out what earlier tests have freed.
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        pages = mmap.mmap(-1, count, flags=flags)
        np.frombuffer(pages, np.uint8)[:] = 1
        return pages

    def work():
        taken(2**27).close()  # 128 MiB for a while
        return taken(2**25)  # 32 MiB to keep

    kept, found = cost(work)
    assert len(kept) == 2**25 and found.processor > 0
    assert found.highest == pytest.approx(2**27, rel=.1)
    assert found.kept == pytest.approx(2**25, rel=.2)


def test_waiting_is_time_passed_and_no_work():
    _, found = cost(lambda: time.sleep(.05))
    assert found.seconds >= .05 and found.processor < .04
