"""Numbers that processes compute together."""

from pathlib import Path

import pytest
import torch
from torchrun import in_two_real_processes

from amt_mm.evaluation import shared_work
from amt_mm.evaluation.shared_work import shared_numbers


@pytest.mark.parametrize('processes', [1, 2, 4])
def test_each_number_is_computed_once_and_known_to_all(monkeypatch, processes):
    """Three tasks: with four processes, one has none."""
    calls, parts = [], []

    def squares(tasks):
        calls.extend(tasks)
        return [task**2 / 3 for task in tasks]

    def run(rank, reduce):
        monkeypatch.setattr(shared_work, 'get_dist_info', lambda: (rank, processes))
        monkeypatch.setattr(shared_work, 'all_reduce', reduce)
        return shared_numbers(squares, [3, 5, 7])

    for rank in range(processes):
        run(rank, parts.append)
    assert sorted(calls) == [3, 5, 7]
    total = sum(part.clone() for part in parts)
    for rank in range(processes):
        found = run(rank, lambda part: part.copy_(total))
        assert torch.equal(found, torch.tensor([3., 25 / 3, 49 / 3], dtype=torch.float64))


@pytest.mark.slow
@pytest.mark.parametrize('what', ['shared', 'segmentation', 'unsupervised'])
def test_processes_wait_for_work_longer_than_the_timeout_of_collectives(what):
    in_two_real_processes(Path(__file__).parent / 'two_processes_waiting.py', what)
