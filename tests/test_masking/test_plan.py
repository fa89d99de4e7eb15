import dataclasses

import pytest
import torch
from partitions import assert_partition

from amt_mm.masking import MASKED, THROWN, VISIBLE, MaskPlan


def shuffled(batch_size, num_tokens, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randperm(num_tokens, generator=generator)
                        for _ in range(batch_size)])


def test_ranking_is_cut_into_masked_then_thrown_then_visible():
    plan = MaskPlan.from_order(torch.tensor([[4, 2, 0, 5, 1, 3], [0, 1, 2, 3, 4, 5]]), 1, 2, (2, 3))
    assert plan.masked.tolist() == [[4], [0]]
    assert plan.thrown.tolist() == [[2, 0], [1, 2]]
    assert plan.visible.tolist() == [[5, 1, 3], [3, 4, 5]]
    assert (plan.batch_size, plan.num_tokens) == (2, 6)


@pytest.mark.parametrize(('batch_size', 'grid', 'num_masked', 'num_thrown'),
                         [(1, (5, 7), 15, 14), (3, (5, 7), 1, 0), (2, (14, 14), 88, 78)])
def test_states_of_every_token(batch_size, grid, num_masked, num_thrown):
    order = shuffled(batch_size, grid[0] * grid[1])
    plan = MaskPlan.from_order(order, num_masked, num_thrown, grid)
    states = plan.states()
    assert states.shape == order.shape
    for sample in range(batch_size):
        for place, token in enumerate(order[sample].tolist()):
            wanted = (MASKED if place < num_masked
                      else THROWN if place < num_masked + num_thrown else VISIBLE)
            assert states[sample, token] == wanted
    assert_partition(plan)


def test_a_plan_moves_to_a_device_as_a_whole():
    plan = MaskPlan.from_order(shuffled(2, 35), 15, 14, (5, 7))
    moved = plan.to('meta')
    parts = [(part.device.type, tuple(part.shape))
             for part in (moved.masked, moved.thrown, moved.visible)]
    assert parts == [('meta', (2, 15)), ('meta', (2, 14)), ('meta', (2, 6))]
    assert moved.grid == (5, 7) and plan.masked.device.type == 'cpu'


@pytest.mark.parametrize(('units', 'unit'), [((2, 3), 2), ((3, 2), 3), ((7, 7), 2), ((1, 4), 5)])
def test_units_expand_to_squares_of_tokens(units, unit):
    order = shuffled(3, units[0] * units[1])
    coarse = MaskPlan.from_order(order, 2, 1, units)
    fine = coarse.units_to_tokens(unit)
    assert fine.grid == (units[0] * unit, units[1] * unit)
    assert_partition(fine)
    # Here the unit is found from the token's row and column, there the tokens from the unit.
    coarse_states, fine_states = coarse.states(), fine.states()
    for row in range(fine.grid[0]):
        for column in range(fine.grid[1]):
            block = (row // unit) * units[1] + column // unit
            token = row * fine.grid[1] + column
            assert torch.equal(fine_states[:, token], coarse_states[:, block])


def test_units_of_one_token_change_nothing():
    plan = MaskPlan.from_order(shuffled(2, 35), 15, 14, (5, 7))
    same = plan.units_to_tokens(1)
    assert torch.equal(same.states(), plan.states())
    assert same.grid == (5, 7)


def test_plan_is_immutable():
    plan = MaskPlan.from_order(shuffled(1, 12), 3, 4, (3, 4))
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.grid = (4, 3)
