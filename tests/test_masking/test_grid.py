"""Grid-wise masking, with patterns counted by hand."""

import pytest
import torch
from partitions import assert_partition

from amt_mm.errors import InputError
from amt_mm.masking import GridMaskGenerator, RandomMaskGenerator

HOSTS = [((14, 14), dict()), ((5, 7), dict()), ((14, 14), dict(unit=2, rounding='ceil')),
         ((6, 10), dict(unit=2, rounding='ceil'))]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(('grid', 'host'), HOSTS)
@pytest.mark.parametrize('ratios', [(.75, 0), (.45, .30), (.889, 0), (.80, .09)])
def test_counts_are_those_of_random_masking(grid, host, ratios):
    if grid == (6, 10) and ratios[1] == .09:
        ratios = (.6, .15)  # 15 units are too few for ceil(.80 N) and ceil(.09 N)
    for batch_size in (1, 3):
        plan = GridMaskGenerator(*ratios, **host)(batch_size, grid)
        wanted = RandomMaskGenerator(*ratios, **host)(batch_size, grid)
        assert_partition(plan)
        for kind in ('masked', 'thrown', 'visible'):
            assert getattr(plan, kind).shape == getattr(wanted, kind).shape


@pytest.mark.parametrize(('grid', 'ratio', 'period'), [
    ((14, 14), .75, 2), ((4, 6), .75, 2), ((6, 9), 8 / 9, 3), ((8, 4), .9375, 4)])
def test_lattice_is_exact_where_the_period_divides_the_grid(grid, ratio, period):
    plan = GridMaskGenerator(round(ratio, 4) if period != 3 else .8889)(
        900, grid, generator=seeded())
    if period == 3:  # floor(54 * .8889) = 48
        assert plan.masked.shape[1] == 48
    shifts = {}
    for visible in plan.visible.tolist():
        rows, columns = {i // grid[1] for i in visible}, {i % grid[1] for i in visible}
        row, column = min(rows), min(columns)
        lattice = {i * grid[1] + j for i in range(row, grid[0], period)
                   for j in range(column, grid[1], period)}
        assert set(visible) == lattice
        shifts[row, column] = shifts.get((row, column), 0) + 1
    # All shifts are equally frequent.
    expected = 900 / period**2
    assert len(shifts) == period**2
    assert all(abs(n - expected) < 5 * expected**.5 for n in shifts.values())


def lattices(rows, columns):
    return [{i * columns + j for i in range(row, rows, 2) for j in range(column, columns, 2)}
            for row in (0, 1) for column in (0, 1)]


@pytest.mark.parametrize('grid', [(5, 7), (7, 7)])
def test_odd_grid_differs_from_a_lattice_only_by_the_missing_or_extra_tokens(grid):
    rows, columns = grid
    plan = GridMaskGenerator()(1000, grid, generator=seeded(1))
    number = plan.visible.shape[1]
    sizes = set()
    for visible in map(set, plan.visible.tolist()):
        fits = [lattice for lattice in lattices(rows, columns)
                if len(lattice & visible) == min(len(lattice), number)]
        assert fits
        sizes.update(len(lattice) for lattice in fits)
    # Lattices with too many and with too few tokens both occur (5x7: 12, 9, 8, 6).
    assert min(sizes) < number < max(sizes)


def test_extra_tokens_are_drawn_uniformly():
    """5x7 keeps 9; the lattice from (1, 1) has 6, so 3 of the 29 others stay visible."""
    plan = GridMaskGenerator()(20_000, (5, 7), generator=seeded(2))
    visible = plan.states() == 0
    lattice = torch.zeros(35, dtype=torch.bool)
    lattice[[8, 10, 12, 22, 24, 26]] = True
    mine = visible[visible[:, lattice].all(dim=1)]
    assert len(mine) == pytest.approx(5000, abs=5 * 61 + 20)
    share = mine[:, ~lattice].float().mean(dim=0)
    assert (share - 3 / 29).abs().max() < 5 * (3 / 29 / len(mine))**.5


def test_all_positions_are_visible_and_thrown_equally_often():
    plan = GridMaskGenerator(.45, .30)(4000, (6, 8), generator=seeded(3))
    states = plan.states()
    assert ((states == 0).float().mean(dim=0) - .25).abs().max() < 5 * (.1875 / 4000)**.5
    thrown = (states == 2).float().mean(dim=0)
    assert (thrown - plan.thrown.shape[1] / 48).abs().max() < 5 * (.25 / 4000)**.5


@pytest.mark.parametrize('ratios', [(.60, 0), (.45, .40), (.40, 0), (.5, 0)])
def test_ratio_without_a_lattice_is_rejected(ratios):
    with pytest.raises(InputError, match='not a square grid: together they must be .75'):
        GridMaskGenerator(*ratios)
