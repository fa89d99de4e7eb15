"""Resampling against exact sums over rectangles in double precision, for any map, crop and flip."""

import numpy as np
import torch
from counted_cases import fuzz
from hypothesis import strategies as st

from amt_mm.masking import usable_rows
from amt_mm.saliency import resample

SIDES, SEEDS = st.integers(1, 20), st.integers(0, 2**32 - 1)
# Sides of crops down to 1/1000 of the image's: 10 pixels of 10,000.
SIZES = st.one_of(st.floats(.05, 1), st.floats(.001, .05), st.just(1.))
PLACES = st.one_of(st.floats(0, 1), st.sampled_from([0., 1.]))
FLIPS = st.sampled_from(['', 'x', 'y', 'xy'])
COMMON = dict(
    height=SIDES, width=SIDES, rows=st.integers(1, 8), columns=st.integers(1, 8), tall=SIZES,
    wide=SIZES, top=PLACES, left=PLACES, flip=FLIPS, seed=SEEDS)


def random_map(height, width, seed):
    return np.random.default_rng(seed).random((height, width)).astype(np.float32)


def box_of(tall, wide, top, left, flip=''):
    """Corners in single precision, as a batch has them."""
    x0, y0 = left * (1 - wide), top * (1 - tall)
    box = np.array([x0, y0, min(x0 + wide, 1), min(y0 + tall, 1)], np.float32)
    return box[[2 if 'x' in flip else 0, 3 if 'y' in flip else 1,
                0 if 'x' in flip else 2, 1 if 'y' in flip else 3]]


def interpolated(one_map, y, x):
    """The bilinear image at points, constant outside the centres of its border cells."""
    height, width = one_map.shape
    y, x = (np.clip(p * n - .5, 0, n - 1) for p, n in ((y, height), (x, width)))
    top, left = (np.minimum(np.floor(p).astype(int), max(n - 2, 0))
                 for p, n in ((y, height), (x, width)))
    below, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, across = (y - top)[:, None], x - left
    upper = one_map[top][:, left] * (1 - across) + one_map[top][:, right] * across
    lower = one_map[below][:, left] * (1 - across) + one_map[below][:, right] * across
    return upper * (1 - down) + lower * down


def cuts(start, stop, cells):
    """Where an interval is to be cut so that the image is bilinear in between."""
    start, stop = min(start, stop), max(start, stop)
    kinks = (np.arange(cells) + .5) / cells
    return np.concatenate([[start], kinks[(kinks > start) & (kinks < stop)], [stop]])


def exact(one_map, box, grid):
    """Mean over each patch: over a rectangle a bilinear function's mean is that of its corners."""
    one_map, (x0, y0, x1, y1) = one_map.astype(np.float64), box.astype(np.float64)
    means = np.empty(grid)
    for row in range(grid[0]):
        y = cuts(y0 + (y1 - y0) * row / grid[0], y0 + (y1 - y0) * (row + 1) / grid[0],
                 one_map.shape[0])
        for column in range(grid[1]):
            x = cuts(x0 + (x1 - x0) * column / grid[1], x0 + (x1 - x0) * (column + 1) / grid[1],
                     one_map.shape[1])
            corners = interpolated(one_map, y, x)
            middle = (corners[1:, 1:] + corners[1:, :-1] + corners[:-1, 1:] + corners[:-1, :-1]) / 4
            areas = np.diff(y)[:, None] * np.diff(x)
            means[row, column] = (middle * areas).sum() / areas.sum()
    return means


def found(one_map, box, grid):
    weights = resample(torch.from_numpy(one_map)[None], torch.from_numpy(box)[None], grid)
    assert weights.shape == (1, grid[0] * grid[1]) and weights.dtype == torch.float32
    return weights.view(grid).numpy()


def tolerance(one_map, box, grid):
    """Single precision of an edge, in cells, against the length of a patch, in cells."""
    thinnest = min(abs(float(box[2] - box[0])) / grid[1], abs(float(box[3] - box[1])) / grid[0])
    return 1e-6 + 4e-7 / thinnest


def exact_flipped(one_map, box, grid):
    """Of a box read backwards: the means of the box read forwards, turned round."""
    means = exact(one_map, np.concatenate([np.minimum(box[:2], box[2:]),
                                           np.maximum(box[:2], box[2:])]), grid)
    means = means[:, ::-1] if box[0] > box[2] else means
    return means[::-1] if box[1] > box[3] else means


@fuzz(1500, **COMMON)
def test_equals_the_exact_mean(height, width, rows, columns, tall, wide, top, left, flip, seed):
    one_map, grid = random_map(height, width, seed), (rows, columns)
    box = box_of(tall, wide, top, left, flip)
    weights = found(one_map, box, grid)
    allowed = tolerance(one_map, box, grid)
    np.testing.assert_allclose(weights, exact_flipped(one_map, box, grid), rtol=0, atol=allowed)
    assert one_map.min() - allowed <= weights.min() and weights.max() <= one_map.max() + allowed


@fuzz(800, value=st.floats(0, 1, width=16), **COMMON)
def test_constants_are_kept(value, height, width, rows, columns, tall, wide, top, left, flip, seed):
    one_map = np.full((height, width), value, np.float32)
    box = box_of(tall, wide, top, left, flip)
    weights = found(one_map, box, (rows, columns))
    np.testing.assert_allclose(weights, value, rtol=0,
                               atol=value * tolerance(one_map, box, (rows, columns)))
    if value == 0:
        assert not weights.any()


@fuzz(800, **COMMON)
def test_flips_turn_the_weights_round(height, width, rows, columns, tall, wide, top, left, flip,
                                      seed):
    one_map, grid = random_map(height, width, seed), (rows, columns)
    plain, box = box_of(tall, wide, top, left), box_of(tall, wide, top, left, flip)
    wanted = found(one_map, plain, grid)
    wanted = wanted[:, ::-1] if 'x' in flip else wanted
    wanted = wanted[::-1] if 'y' in flip else wanted
    allowed = 2 * tolerance(one_map, box, grid)
    np.testing.assert_allclose(found(one_map, box, grid), wanted, rtol=0, atol=allowed)
    # The mirrored crop of the mirrored image shows the same.
    mirrored = box * np.float32([-1, 1, -1, 1]) + np.float32([1, 0, 1, 0])
    np.testing.assert_allclose(
        found(one_map[:, ::-1].copy(), mirrored, grid), found(one_map, box, grid),
        rtol=0, atol=allowed)


@fuzz(800, down=st.integers(1, 4), across=st.integers(1, 4), **COMMON)
def test_coarse_patches_are_means_of_fine_ones(down, across, height, width, rows, columns, tall,
                                               wide, top, left, flip, seed):
    one_map, box = random_map(height, width, seed), box_of(tall, wide, top, left, flip)
    fine = found(one_map, box, (rows * down, columns * across))
    means = fine.reshape(rows, down, columns, across).mean((1, 3))
    np.testing.assert_allclose(
        found(one_map, box, (rows, columns)), means, rtol=0,
        atol=2 * tolerance(one_map, box, (rows * down, columns * across)))


@fuzz(600, factor=st.floats(0, 1), other=SEEDS, **COMMON)
def test_linear_in_the_map(factor, other, height, width, rows, columns, tall, wide, top, left, flip,
                           seed):
    one, two = random_map(height, width, seed), random_map(height, width, other)
    box, grid, factor = box_of(tall, wide, top, left, flip), (rows, columns), np.float32(factor)
    mixed = found(factor * one + (1 - factor) * two, box, grid)
    apart = factor * found(one, box, grid) + (1 - factor) * found(two, box, grid)
    np.testing.assert_allclose(mixed, apart, rtol=0, atol=2 * tolerance(one, box, grid))


@fuzz(300, spoilt=st.sampled_from(['no width', 'no height', 'a point', 'NaN', 'infinite']),
      **COMMON)
def test_what_has_no_mean_cannot_guide(spoilt, height, width, rows, columns, tall, wide, top, left,
                                       flip, seed):
    """Such a sample is planned by chance, and its neighbours as ever."""
    maps = torch.from_numpy(np.stack([random_map(height, width, seed + n) for n in range(3)]))
    boxes = torch.from_numpy(np.stack([box_of(tall, wide, top, left, flip)] * 3))
    wanted = resample(maps, boxes, (rows, columns))
    if spoilt in ('no width', 'a point'):
        boxes[1, 2] = boxes[1, 0]
    if spoilt in ('no height', 'a point'):
        boxes[1, 3] = boxes[1, 1]
    if spoilt in ('NaN', 'infinite'):
        maps[1] = float(spoilt[:3])
    weights = resample(maps, boxes, (rows, columns))
    assert torch.equal(weights[[0, 2]], wanted[[0, 2]])
    assert not usable_rows(weights)[1]
