import pytest
import torch
from torch.nn import functional as F

from amt_mm.saliency import resample

FINE = 24  # pixels per cell; even, so that interpolation is linear within every pixel


def slow(one_map, box, grid):
    """Interpolate the map to pixels, crop, flip, and average the pixels of each patch.

    ``box`` is ``(left, top, right, bottom)`` in these pixels, reversed for a flip.
    """
    rows, columns = one_map.shape
    pixels = F.interpolate(one_map[None, None].double(), (rows * FINE, columns * FINE),
                           mode='bilinear', align_corners=False)[0, 0]
    left, top, right, bottom = box
    crop = pixels[min(top, bottom):max(top, bottom), min(left, right):max(left, right)]
    if left > right:
        crop = crop.flip(1)
    if top > bottom:
        crop = crop.flip(0)
    height, width = crop.shape[0] // grid[0], crop.shape[1] // grid[1]
    assert crop.shape == (height * grid[0], width * grid[1])
    return torch.stack([crop[i * height:(i + 1) * height, j * width:(j + 1) * width].mean()
                        for i in range(grid[0]) for j in range(grid[1])])


def relative(box, map_grid):
    height, width = map_grid[0] * FINE, map_grid[1] * FINE
    return [box[0] / width, box[1] / height, box[2] / width, box[3] / height]


def random_map(*grid, seed=0):
    return torch.rand(*grid, generator=torch.Generator().manual_seed(seed))


# Boxes in pixels of a 5 x 7 map, 120 x 168 pixels; sides divide by the crop's grid.
CASES = [
    ((0, 0, 168, 120), (5, 7)),  # the whole image
    ((0, 0, 168, 120), (10, 14)),
    ((0, 0, 168, 120), (1, 1)),
    ((13, 7, 13 + 140, 7 + 60), (5, 7)),
    ((168 - 21, 120 - 10, 168, 120), (5, 7)),  # a corner: patches of 2 x 3 pixels
    ((0, 0, 7, 5), (5, 7)),  # the opposite corner, within one cell
    ((50, 1, 50 + 98, 1 + 112), (14, 14)),
    ((30, 11, 30 + 9, 11 + 100), (4, 3)),  # tall and thin
]


@pytest.mark.parametrize('flip', ['', 'horizontal', 'vertical', 'diagonal'])
@pytest.mark.parametrize(('box', 'grid'), CASES)
def test_equals_the_slow_average_over_pixels(box, grid, flip):
    # Crop and flip, on images that are not square.
    left, top, right, bottom = box
    if flip in ('horizontal', 'diagonal'):
        left, right = right, left
    if flip in ('vertical', 'diagonal'):
        top, bottom = bottom, top
    box = left, top, right, bottom
    one_map = random_map(5, 7)
    found = resample(one_map[None], torch.tensor([relative(box, (5, 7))]), grid)
    assert found.shape == (1, grid[0] * grid[1])
    assert found.dtype == torch.float32
    torch.testing.assert_close(found[0].double(), slow(one_map, box, grid), rtol=0, atol=1e-5)


@pytest.mark.parametrize('map_grid', [(5, 7), (7, 5), (14, 14), (1, 6), (2, 1), (1, 1)])
def test_any_map_to_any_grid(map_grid):
    one_map = random_map(*map_grid, seed=1)
    height, width = map_grid[0] * FINE, map_grid[1] * FINE
    for box, grid in (((0, 0, width, height), (3, 4)), ((3, 5, 3 + 16, 5 + 18), (6, 4)),
                      ((width, height, width - 20, height - 21), (3, 5))):
        found = resample(one_map[None], torch.tensor([relative(box, map_grid)]), grid)
        torch.testing.assert_close(found[0].double(), slow(one_map, box, grid), rtol=0, atol=1e-5)


def test_samples_of_a_batch_are_independent():
    maps = torch.stack([random_map(5, 7, seed=seed) for seed in range(4)])
    boxes = [(0, 0, 168, 120), (153, 7, 13, 67), (13, 67, 153, 7), (27, 15, 20, 10)]
    together = resample(maps, torch.tensor([relative(box, (5, 7)) for box in boxes]), (5, 7))
    for one_map, box, row in zip(maps, boxes, together, strict=True):
        torch.testing.assert_close(row.double(), slow(one_map, box, (5, 7)), rtol=0, atol=1e-5)


def test_linear_map_is_unchanged_on_its_own_grid():
    # Except at the border, where interpolation is constant.
    columns = torch.arange(7.).expand(1, 5, 7) / 6
    found = resample(columns, torch.tensor([[0., 0, 1, 1]]), (5, 7)).view(5, 7)
    torch.testing.assert_close(found[:, 1:-1], columns[0, :, 1:-1])


@pytest.mark.parametrize('cell', [(0, 0), (0, 6), (4, 0), (4, 6), (2, 3), (1, 5)])
def test_one_hot_map_peaks_at_the_right_patch(cell):
    # The expected patch is computed from coordinates.
    one_map = torch.zeros(1, 5, 7)
    one_map[0, cell[0], cell[1]] = 1
    y, x = (cell[0] + .5) / 5, (cell[1] + .5) / 7  # its centre
    generator = torch.Generator().manual_seed(2)
    for _ in range(40):
        width, height = (.35 + .6 * torch.rand(2, generator=generator)).tolist()
        left, top = (torch.rand(2, generator=generator)
                     * torch.tensor([1 - width, 1 - height])).tolist()
        inside = left + .05 < x < left + width - .05 and top + .05 < y < top + height - .05
        if not inside:
            continue
        for mirrored in (False, True):
            for upended in (False, True):
                across = (x - left) / width
                down = (y - top) / height
                box = [left, top, left + width, top + height]
                if mirrored:
                    box[0], box[2], across = box[2], box[0], 1 - across
                if upended:
                    box[1], box[3], down = box[3], box[1], 1 - down
                weights = resample(one_map, torch.tensor([box]), (4, 6))[0].view(4, 6)
                row, column = divmod(int(weights.argmax()), 6)
                assert abs(row + .5 - down * 4) < .75
                assert abs(column + .5 - across * 6) < .75


def test_constant_map_stays_constant_and_zeros_stay_exact():
    # A map of zeros must still trigger the fallback to random masking.
    generator = torch.Generator().manual_seed(3)
    corner = .7 * torch.rand(64, 2, generator=generator)
    boxes = torch.cat([corner, corner + .3], dim=1)
    assert resample(torch.zeros(64, 5, 7), boxes, (5, 7)).abs().max() == 0
    ones = resample(torch.ones(64, 5, 7), boxes, (5, 7))
    torch.testing.assert_close(ones, torch.ones_like(ones), rtol=0, atol=2e-5)


def test_map_that_is_not_finite_affects_only_its_own_sample():
    maps = torch.stack([random_map(5, 7, seed=seed) for seed in range(3)])
    boxes = torch.tensor([[0., 0, 1, 1], [.1, .1, .9, .8], [.7, .2, .3, .6]])
    wanted = resample(maps, boxes, (5, 7))
    maps[1, 2, 3] = float('nan')
    found = resample(maps, boxes, (5, 7))
    assert torch.equal(found[[0, 2]], wanted[[0, 2]])
    assert found[1].isnan().any()


def test_never_negative():
    one_map = torch.zeros(1, 14, 14)
    one_map[0, 3, 9] = 1
    generator = torch.Generator().manual_seed(4)
    corner = .7 * torch.rand(512, 2, generator=generator)
    boxes = torch.cat([corner, corner + .3], dim=1)
    assert resample(one_map.expand(512, -1, -1), boxes, (14, 14)).min() >= 0


def test_stays_in_fp32_under_autocast():
    one_map, box = random_map(5, 7)[None], torch.tensor([[.13, .21, .87, .9]])
    wanted = resample(one_map, box, (5, 7))
    with torch.autocast('cpu', torch.bfloat16):
        found = resample(one_map, box, (5, 7))
    assert torch.equal(found, wanted)
    half = resample(one_map.half(), box, (5, 7))
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, wanted, rtol=0, atol=1e-3)
