"""Peak memory: torch's own allocations, counted by hand."""

import types

import pytest
import torch

from lab.benchmark.memory import peak_memory

MB = 1_000_000


class Fake:
    """Has 3 MB between steps; a step holds 2, 5, 3 and 4 MB more, one after another."""
    device = torch.device('cpu')

    def state_bytes(self):
        return 3 * MB

    def step(self, clock):
        first = torch.empty(2 * MB, dtype=torch.uint8)
        second = torch.empty(3 * MB, dtype=torch.uint8)
        del first
        third = torch.empty(1 * MB, dtype=torch.uint8)
        del second, third


def test_the_peak_is_that_of_what_lives_together():
    before = torch.empty(10 * MB, dtype=torch.uint8)  # of others: not counted
    assert peak_memory(Fake()) == pytest.approx(8 * MB, rel=1e-3)
    del before


def test_on_a_gpu_others_in_the_process_do_not_count(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'reset_peak_memory_stats', lambda: None)
    monkeypatch.setattr(torch.cuda, 'memory_allocated', lambda: 50 * MB)
    monkeypatch.setattr(torch.cuda, 'max_memory_allocated', lambda: 57 * MB)
    fake = types.SimpleNamespace(device=torch.device('cuda'), step=lambda clock: None,
                                 state_bytes=lambda: 3 * MB)
    assert peak_memory(fake) == 10 * MB
