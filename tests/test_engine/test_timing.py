"""race: all take turns, warm-up is not measured, ratios are taken within rounds."""

import numpy as np

from amt_mm.engine.timing import race, ratios


class Fake:

    def __init__(self, calls, name, seconds):
        self.calls, self.name, self.seconds = calls, name, iter(seconds)

    def step(self, bf16):
        self.calls.append((self.name, bf16))
        return next(self.seconds)


def test_all_take_turns_and_the_warm_up_is_left_out():
    calls = []
    times = race([Fake(calls, 'a', [9, 1, 2, 3]), Fake(calls, 'b', [9, 4, 5, 6])], rounds=3,
                 warm_up=1, bf16=True)
    assert calls == [('a', True), ('b', True)] * 4
    assert times.tolist() == [[1, 4], [2, 5], [3, 6]]


def test_a_slow_round_does_not_move_the_ratio():
    # The machine is three times as slow in the second round: both suffer alike.
    assert ratios(np.array([[10., 6.], [30., 18.], [10., 6.]])).tolist() == [1, .6]
