"""race: all take turns, warm-up is left out, ratios are taken within rounds."""

import numpy as np
import pytest
import torch

from lab.benchmark import racing as module
from lab.benchmark.racing import MatrixProduct, Race, race, ratios


class Fake:
    device = torch.device('cpu')

    def __init__(self, calls, name, seconds):
        self.calls, self.name, self.seconds = calls, name, iter(seconds)

    def step(self, clock):
        self.calls.append(self.name)
        return [float('nan'), 0, next(self.seconds), 1, 2]


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setitem(module.PRODUCT_SIDE, 'cpu', 8)


def test_all_take_turns_and_the_warm_up_is_left_out():
    calls = []
    outcome = race([Fake(calls, 'a', [9, 1, 2, 3]), Fake(calls, 'b', [9, 4, 5, 6])], rounds=3,
                   warm_up=1)
    assert calls == ['a', 'b', 'b', 'a', 'a', 'b', 'b', 'a']
    assert outcome.seconds[:, :, 2].tolist() == [[1, 4], [2, 5], [3, 6]]
    # What is not read is not in the step; the optimiser is not in the network's time.
    assert outcome.network.tolist() == [[2, 5], [3, 6], [4, 7]]
    assert outcome.step.tolist() == [[4, 7], [5, 8], [6, 9]]
    assert outcome.peaks.shape == (3, ) and (outcome.peaks > 0).all()


def test_a_slow_round_does_not_move_the_ratio():
    # The machine is three times as slow in the second round: both suffer alike.
    assert ratios(np.array([[10., 6.], [30., 18.], [10., 6.]])).tolist() == [1, .6]


def test_share_of_the_peak_is_taken_within_rounds():
    seconds = np.zeros((3, 1, 5))
    seconds[:, 0, 2:4] = [[1, 1], [2, 2], [1, 1]]  # forward and backward
    # 100 multiply-adds forward, 300 in all, in 2 s at a peak of 300 a second: half of it.
    outcome = Race(seconds, np.array([300., 150., 300.]))
    assert outcome.share_of_peak(0, 100) == pytest.approx(.5)


@pytest.mark.parametrize(('bf16', 'dtype'), [(False, torch.float32), (True, torch.bfloat16)])
def test_speed_is_of_the_best_try_and_of_the_contestants_type(monkeypatch, bf16, dtype):
    seen = []
    mm = torch.mm
    monkeypatch.setattr(torch, 'mm', lambda a, b, out: (seen.append(a.dtype), mm(a, b, out=out)))

    class Clock:
        def start(self):
            pass

        mark = start

        def seconds(self):
            return [4, 2, 8]

    product = MatrixProduct(torch.device('cpu'), bf16, Clock())
    assert product.speed() == 8**3 / 2
    assert seen == [dtype] * 3
