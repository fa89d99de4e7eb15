import torch

from lab.cost.multiply_adds import multiply_adds


def test_what_is_of_one_kind_is_counted_once():
    runs = []

    def forward(rows):
        runs.append(rows)
        return torch.nn.Linear(5, 3)(torch.zeros(rows, 5))

    kind = test_what_is_of_one_kind_is_counted_once
    assert multiply_adds(lambda: forward(7), (kind, 7)) == 7 * 5 * 3
    assert multiply_adds(lambda: forward(4), (kind, 4)) == 4 * 5 * 3
    assert multiply_adds(lambda: forward(7), (kind, 7)) == 7 * 5 * 3
    assert runs == [7, 4]
