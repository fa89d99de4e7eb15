import math
from fractions import Fraction

import pytest
import torch
from sklearn.metrics import roc_auc_score

from amt_mm.errors import InputError
from amt_mm.evaluation import attention_on_object


def slow_coverage(mask, h, w):
    """Cut every pixel along the cell borders, in exact fractions."""
    height, width = mask.shape
    cells = [[Fraction(0)] * w for _ in range(h)]
    for i in range(h):
        for j in range(w):
            for y in range(height):
                for x in range(width):
                    if not mask[y, x]:
                        continue
                    down = min(Fraction((i + 1) * height, h), y + 1) - max(
                        Fraction(i * height, h), y
                    )
                    right = min(Fraction((j + 1) * width, w), x + 1) - max(
                        Fraction(j * width, w), x
                    )
                    if down > 0 and right > 0:
                        cells[i][j] += down * right * Fraction(h * w, height * width)
    return torch.tensor([[float(c) for c in row] for row in cells], dtype=torch.float64)


def blob(height, width, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(height, width, generator=generator) < 0.4


SIZES = [((2, 3), (4, 6)), ((3, 5), (7, 11)), ((4, 1), (9, 2)), ((5, 7), (5, 7))]


@pytest.mark.parametrize(('grid', 'size'), SIZES)
def test_agrees_with_the_slow_oracle(grid, size):
    generator = torch.Generator().manual_seed(0)
    maps = torch.rand(3, *grid, generator=generator)
    maps[1] = (maps[1] * 3).round()  # ties
    maps[1, 0, 0] = 1
    masks = torch.stack([blob(*size, seed) for seed in range(3)])
    found = attention_on_object(maps, masks)
    for i in range(3):
        inside = slow_coverage(masks[i], *grid)
        density = maps[i].double() / maps[i].double().sum()
        share = (density * inside).sum()
        area = masks[i].double().mean()
        assert found.share[i] == pytest.approx(share.item(), abs=1e-12)
        assert found.area[i] == pytest.approx(area.item(), abs=1e-12)
        assert found.ratio[i] == pytest.approx((share / area).item(), abs=1e-12)
        # Each cell is an object point and a background point, weighted by its parts.
        cells = density.numel()
        auroc = roc_auc_score(
            [1] * cells + [0] * cells,
            torch.cat([density.flatten()] * 2).numpy(),
            sample_weight=torch.cat([inside.flatten(), 1 - inside.flatten()]).numpy(),
        )
        assert found.auroc[i] == pytest.approx(auroc, abs=1e-9)
    assert not found.flat.any()


def test_a_map_that_is_the_mask_is_perfect_and_its_opposite_the_worst():
    mask = torch.zeros(1, 8, 12, dtype=torch.bool)
    mask[0, 2:4, 3:9] = True
    cells = mask[:, ::2, ::3].float()
    good, bad = attention_on_object(cells, mask), attention_on_object(1 - cells, mask)
    assert good.share.item() == 1 and good.auroc.item() == 1
    assert good.ratio.item() == pytest.approx(8)
    assert bad.share.item() == 0 and bad.auroc.item() == 0


@pytest.mark.parametrize('value', [0.0, 3.5, math.nan, math.inf])
def test_a_map_without_information_counts_as_uniform(value):
    maps = torch.rand(2, 3, 5)
    maps[1] = value
    if math.isnan(value):
        maps[1] = 0.5
        maps[1, 0, 2] = value
    found = attention_on_object(maps, torch.stack([blob(7, 11, 1)] * 2))
    assert found.share[1].item() == pytest.approx(found.area[1].item())
    assert found.ratio[1].item() == pytest.approx(1)
    assert found.auroc[1].item() == pytest.approx(0.5)
    assert found.flat.tolist() == [False, value != 3.5]


@pytest.mark.parametrize('grid', [(3, 5), (7, 6), (14, 14)])
def test_images_without_object_or_background_are_nan_and_left_out(grid):
    masks = torch.stack([torch.zeros(37, 53), torch.ones(37, 53), blob(37, 53, 2)]).bool()
    found = attention_on_object(torch.rand(3, *grid), masks)
    assert found.share[0] == 0 and found.ratio[0].isnan() and found.auroc[0].isnan()
    assert found.share[1].item() == pytest.approx(1) and found.area[1] == 1
    assert found.auroc[1].isnan()
    summary = found.summary()
    assert summary['images'] == 2 and summary['flat'] == 0
    assert summary['share'] == pytest.approx(((1 + found.share[2]) / 2).item())
    assert summary['ratio'] == pytest.approx((found.share[1:].sum() / found.area[1:].sum()).item())
    assert summary['auroc'] == found.auroc[2].item()


def test_a_summary_of_no_object_is_nan_not_a_fault():
    summary = attention_on_object(torch.rand(2, 3, 3), torch.zeros(2, 6, 6).bool()).summary()
    assert math.isnan(summary['share']) and math.isnan(summary['ratio'])
    assert math.isnan(summary['auroc']) and summary['images'] == 0


def test_the_scale_of_a_map_does_not_matter():
    maps, masks = torch.rand(1, 4, 4), blob(8, 8, 3)[None]
    small = attention_on_object(maps.double() * 1e-30, masks)
    large = attention_on_object(maps.double() * 1e30, masks)
    assert small.share.item() == pytest.approx(large.share.item())
    assert small.auroc.item() == large.auroc.item()


@pytest.mark.parametrize(
    ('maps', 'masks', 'message'),
    [
        (torch.ones(2, 3, 3), torch.ones(1, 6, 6).bool(), 'do not fit'),
        (torch.ones(2, 9), torch.ones(2, 6, 6).bool(), 'do not fit'),
        (torch.ones(1, 3, 3), torch.ones(1, 6, 6), 'bool'),
        (torch.ones(1, 8, 3), torch.ones(1, 6, 6).bool(), 'coarser'),
        (-torch.ones(1, 3, 3), torch.ones(1, 6, 6).bool(), 'map 0'),
    ],
)
def test_bad_input_is_one_clear_line(maps, masks, message):
    with pytest.raises(InputError, match=message) as raised:
        attention_on_object(maps, masks)
    assert '\n' not in str(raised.value)
