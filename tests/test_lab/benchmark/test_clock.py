"""Clocks: each phase its time, and on a GPU nothing that waits before the end of a step."""

import time

import pytest
import torch

from lab.benchmark.clock import PHASES, CPUClock, CUDAClock, clock_of


def test_a_cpu_clock_tells_phases_apart():
    clock = CPUClock()
    for _ in range(2):  # the second step starts anew
        clock.start()
        time.sleep(.05)
        clock.mark()
        clock.mark()
        long, short = clock.seconds()
        assert .05 <= long < .5 and short < .04


def test_a_cuda_clock_waits_once_and_counts_in_seconds(monkeypatch):
    said = []

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing
            self.time = [0, 3000, 3500][len(said)]

        def record(self):
            said.append('record')

        def elapsed_time(self, other):  # milliseconds
            assert said[-1] == 'synchronize'
            return other.time - self.time

    monkeypatch.setattr(torch.cuda, 'Event', Event)
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda: said.append('synchronize'))
    clock = CUDAClock()
    clock.start()
    clock.mark()
    clock.mark()
    assert clock.seconds() == [3, .5]
    assert said == ['record'] * 3 + ['synchronize']


def test_each_device_has_its_clock():
    assert len(PHASES) == 5
    assert isinstance(clock_of(torch.device('cpu')), CPUClock)
    assert isinstance(clock_of(torch.device('cuda')), CUDAClock)


def test_processor_time_leaves_out_what_the_process_waits():
    clock = clock_of(torch.device('cpu'), processor_time=True)
    clock.start()
    time.sleep(.3)
    clock.mark()
    until = time.process_time() + .1
    while time.process_time() < until:
        pass
    clock.mark()
    asleep, busy = clock.seconds()
    assert asleep < .05 <= busy


def test_a_phase_that_was_not_ended_is_not_counted():
    clock = CPUClock()
    clock.start()
    assert clock.seconds() == []
    with pytest.raises(AttributeError):
        CPUClock().mark()
