import pytest
import torch

from amt_mm.errors import InputError
from amt_mm.evaluation import accuracy


def test_counts_right_answers_in_percent():
    assert accuracy(torch.tensor([1, 2, 0, 1]), torch.tensor([1, 2, 2, 1])) == 75.0
    assert accuracy(torch.tensor([0]), torch.tensor([1])) == 0.0


@pytest.mark.parametrize('shapes', [((3,), (4,)), ((0,), (0,)), ((2, 3), (2, 3))])
def test_refuses_what_cannot_be_compared(shapes):
    with pytest.raises(InputError):
        accuracy(torch.zeros(shapes[0]), torch.zeros(shapes[1]))
