"""Plans of every generator: a partition with exact counts, or one line."""

import math
from fractions import Fraction

import pytest
import torch
from counted_cases import fuzz
from hypothesis import strategies as st

from amt_mm.errors import InputError
from amt_mm.masking import (
    AMTMaskGenerator,
    AnnealedMaskGenerator,
    BlockMaskGenerator,
    GridMaskGenerator,
    LowAttendedMaskGenerator,
    RandomMaskGenerator,
    rank_by_sampling,
    split_counts,
)
from amt_mm.names import THROWS

GUIDED = [AMTMaskGenerator, LowAttendedMaskGenerator, AnnealedMaskGenerator]
BLIND = [RandomMaskGenerator, BlockMaskGenerator]
# What a row of weights may be like, from N uniform numbers.
ROWS = {
    'uniform': lambda u: u,
    'zeros': torch.zeros_like,
    'ties': lambda u: (u * 3).floor(),
    'one': lambda u: (torch.arange(len(u)) == len(u) // 2).float(),
    'huge': lambda u: u * 3e38,
    'tiny': lambda u: u * 1e-44,
    'far apart': lambda u: 10.0 ** (u * 76 - 38),
    'negative': lambda u: u - 2,
    'partly negative': lambda u: u - .5,
    'NaN': lambda u: torch.where(torch.arange(len(u)) == len(u) - 1, math.nan, u),
    'infinite': lambda u: torch.where(torch.arange(len(u)) == 0, math.inf, u),
}
WEIGHTINGS = [None, dict(by_rank=True), dict(invert=True), dict(cap=.9, temperature=3),
              dict(by_rank=True, invert=True, cap=.5, temperature=.1, uniform=.5),
              dict(invert=True, temperature=1e9, uniform=1.)]
SPOILT = ('zeros', 'negative', 'NaN', 'infinite')
SIDES, SEEDS = st.integers(1, 20), st.integers(0, 2**32 - 1)
# Thousandths, so that whole numbers say what the counts must be.
THOUSANDTHS, ROUNDINGS = st.integers(1, 999), st.sampled_from(['floor', 'ceil'])
COMMON = dict(
    rows=SIDES, columns=SIDES, batch=st.integers(1, 4), unit=st.sampled_from([1, 1, 1, 2, 3]),
    fits=st.sampled_from([True, True, False]), rounding=ROUNDINGS, seed=SEEDS)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def draw_weights(kinds, tokens, seed):
    uniform = torch.rand(len(kinds), tokens, generator=seeded(seed))
    return torch.stack([ROWS[kind](row) for kind, row in zip(kinds, uniform, strict=True)])


def counts(units, mask, throw, rounding):
    """Masked and thrown units by fractions of thousandths, None where no plan is possible."""
    masked, both = units * Fraction(mask, 1000), units * Fraction(mask + throw, 1000)
    if rounding == 'floor':
        masked, thrown = int(masked), int(both) - int(masked)
    else:
        thrown = -int(-(both - masked) // 1)
        masked = -int(-masked // 1)
    return (masked, thrown) if masked and masked + thrown < units else None


def one_line(error, *fields):
    message = str(error.value)
    assert '\n' not in message
    assert all(field in message for field in fields), message


def check(plan, batch, grid, unit, wanted):
    """Every token once, by Python sets; the counts; blocks of one fate."""
    tokens, area = grid[0] * grid[1], unit * unit
    masked, thrown = (number * area for number in wanted)
    kinds = plan.masked, plan.thrown, plan.visible
    assert [ids.shape for ids in kinds] == [
        (batch, masked), (batch, thrown), (batch, tokens - masked - thrown)]
    assert all(ids.dtype == torch.int64 for ids in kinds)
    assert plan.grid == grid
    for row in torch.cat(kinds, dim=1).tolist():
        assert len(row) == tokens and set(row) == set(range(tokens))
    if unit > 1:
        for row in kinds:
            for ids in row.tolist():
                units = {(i // grid[1] // unit, i % grid[1] // unit) for i in ids}
                assert len(units) * area == len(ids)


def check_case(generator, batch, grid, weights, wanted, seed):
    """The plan, or the refusal, and that both come again."""
    unit = generator.unit
    if grid[0] % unit or grid[1] % unit or wanted is None:
        with pytest.raises(InputError) as error:
            generator(batch, grid, weights, generator=seeded(seed))
        one_line(error, f'unit={unit}' if grid[0] % unit or grid[1] % unit else 'mask_ratio=')
        return None
    plan = generator(batch, grid, weights, generator=seeded(seed))
    check(plan, batch, grid, unit, wanted)
    again = generator(batch, grid, weights, generator=seeded(seed))
    assert torch.equal(plan.states(), again.states())
    assert torch.equal(plan.masked, again.masked)
    return plan


def build(kind, mask_ratio, throw_ratio, **kwargs):
    """The generator, or None where its ratios leave nothing visible, which must be refused."""
    if round(1000 * mask_ratio) + round(1000 * throw_ratio) < 1000:
        return kind(mask_ratio=mask_ratio, throw_ratio=throw_ratio, **kwargs)
    with pytest.raises(InputError) as error:
        kind(mask_ratio=mask_ratio, throw_ratio=throw_ratio, **kwargs)
    one_line(error, f'mask_ratio={mask_ratio}', f'throw_ratio={throw_ratio}')
    return None


def some_grid(rows, columns, unit, fits):
    """A grid, of whole units if it ``fits``, of any size else."""
    return tuple(max(side // unit, 1) * unit if fits else side for side in (rows, columns))


@pytest.mark.slow
@fuzz(2000, kind=st.sampled_from(GUIDED), mask=THOUSANDTHS, throw=st.integers(0, 600),
      throws=st.sampled_from(THROWS), progress=st.floats(0, 1),
      weighting=st.sampled_from(WEIGHTINGS),
      kinds=st.lists(st.sampled_from(list(ROWS)), min_size=4, max_size=4), **COMMON)
def test_guided_plans(kind, mask, throw, throws, progress, weighting, kinds, rows, columns, batch,
                      unit, fits, rounding, seed):
    kwargs = dict(throw=throws, weighting=weighting) if issubclass(kind, AMTMaskGenerator) else {}
    generator = build(kind, mask / 1000, throw / 1000, unit=unit, rounding=rounding, **kwargs)
    if generator is None:
        return
    generator.progress = progress
    grid = some_grid(rows, columns, unit, fits)
    tokens, units = grid[0] * grid[1], (grid[0] // unit) * (grid[1] // unit)
    weights = draw_weights(kinds[:batch], tokens, seed)
    wanted = counts(units, mask, throw, rounding)
    plan = check_case(generator, batch, grid, weights, wanted, seed)
    if plan is None:
        return
    # What cannot guide is planned as what is the same everywhere, and no other row notices.
    even = weights.clone()
    for row, name in enumerate(kinds[:batch]):
        if name in SPOILT:
            even[row] = 1
    plain = generator(batch, grid, even, generator=seeded(seed))
    assert torch.equal(plan.states(), plain.states())
    other = weights.clone()
    other[0] = draw_weights(['uniform'], tokens, seed + 1)[0]
    changed = generator(batch, grid, other, generator=seeded(seed))
    assert torch.equal(plan.states()[1:], changed.states()[1:])


@fuzz(1200, kind=st.sampled_from(BLIND), mask=THOUSANDTHS, throw=st.integers(0, 600),
      weighted=st.booleans(), min_block=st.integers(1, 500), **COMMON)
def test_plans_without_weights(kind, mask, throw, weighted, min_block, rows, columns, batch, unit,
                               fits, rounding, seed):
    kwargs = dict(min_block=min_block) if kind is BlockMaskGenerator else {}
    generator = build(kind, mask / 1000, throw / 1000, unit=unit, rounding=rounding, **kwargs)
    if generator is None:
        return
    grid = some_grid(rows, columns, unit, fits)
    weights = draw_weights(['NaN'] * batch, grid[0] * grid[1], seed) if weighted else None
    units = (grid[0] // unit) * (grid[1] // unit)
    check_case(generator, batch, grid, weights, counts(units, mask, throw, rounding),
               seed)


@fuzz(500, kind=st.sampled_from(GUIDED), warmup=THOUSANDTHS, **COMMON)
def test_plans_of_the_warm_up(kind, warmup, rows, columns, batch, unit, fits, rounding, seed):
    grid = some_grid(rows, columns, unit, fits)
    generator = kind(warmup_mask_ratio=warmup / 1000, unit=unit, rounding=rounding)
    units = (grid[0] // unit) * (grid[1] // unit)
    check_case(generator, batch, grid, None, counts(units, warmup, 0, rounding), seed)


@fuzz(500, mask=THOUSANDTHS, throw=st.integers(0, 600),
      near=st.sampled_from([None, 750, 889, 937, 938]), **COMMON)
def test_plans_on_a_lattice(mask, throw, near, rows, columns, batch, unit, fits, rounding, seed):
    if near:
        mask = near - min(throw, near - 1)
        throw = near - mask
    lattice = any(abs(1000 - mask - throw - 1000 / p**2) <= 5 for p in range(2, 20))
    if not lattice or mask + throw >= 1000:
        # Within rounding of half a percent either answer is right.
        if all(abs(abs(1000 - mask - throw - 1000 / p**2) - 5) > .1 for p in range(2, 20)):
            with pytest.raises(InputError) as error:
                GridMaskGenerator(mask / 1000, throw / 1000, unit=unit, rounding=rounding)
            one_line(error, f'mask_ratio={mask / 1000}')
        return
    grid = some_grid(rows, columns, unit, fits)
    generator = GridMaskGenerator(mask / 1000, throw / 1000, unit=unit, rounding=rounding)
    units = (grid[0] // unit) * (grid[1] // unit)
    check_case(generator, batch, grid, None, counts(units, mask, throw, rounding), seed)


@fuzz(500, batch=st.integers(1, 4), rows=st.integers(1, 6), columns=st.integers(1, 6),
      shape=st.lists(st.integers(1, 36), min_size=1, max_size=3))
def test_weights_of_another_shape_are_refused(batch, rows, columns, shape):
    if shape == [batch, rows * columns]:
        return
    with pytest.raises(InputError) as error:
        AMTMaskGenerator()(batch, (rows, columns), torch.rand(shape))
    one_line(error, 'weights', f'{rows}x{columns}', f'{batch} samples')


@fuzz(1000, tokens=st.integers(0, 2000), mask=THOUSANDTHS, throw=st.integers(0, 999),
      rounding=ROUNDINGS)
def test_counts(tokens, mask, throw, rounding):
    wanted = counts(tokens, mask, throw, rounding)
    if wanted is None or mask + throw >= 1000:
        with pytest.raises(InputError) as error:
            split_counts(tokens, mask / 1000, throw / 1000, rounding)
        one_line(error, 'mask_ratio=', 'throw_ratio=')
    else:
        assert split_counts(tokens, mask / 1000, throw / 1000, rounding) == wanted


@fuzz(500, kinds=st.lists(st.sampled_from(list(ROWS)), min_size=1, max_size=4),
      tokens=st.integers(1, 200), scale=st.sampled_from([2.0**-20, 1, 2.0**20]), seed=SEEDS)
def test_rankings_are_permutations_and_only_ratios_matter(kinds, tokens, scale, seed):
    weights = draw_weights(kinds, tokens, seed)
    order = rank_by_sampling(weights, seeded(seed))
    for row in order.tolist():
        assert sorted(row) == list(range(tokens))
    for row, name in enumerate(kinds):
        if name in ('uniform', 'ties', 'one'):
            scaled = weights.clone()
            scaled[row] *= scale
            assert torch.equal(rank_by_sampling(scaled, seeded(seed))[row], order[row])
