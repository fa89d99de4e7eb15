"""Resample a whole image's saliency map to the patches of a crop."""

from __future__ import annotations

import torch
from torch import Tensor


def resample(maps: Tensor, boxes: Tensor, grid: tuple[int, int]) -> Tensor:
    """Average maps over each patch of a crop (AMT, section "attention-driven masking").

    A map is an image of ``h x w`` cells, interpolated bilinearly between cell centres and constant
    beyond them, as in resizing an image. Its mean over a patch has a closed form: interpolation and
    rectangles separate into rows and columns, and along an axis the mean over an interval is the
    integral of the interpolation's hat functions. So the result is exact, without sampling points,
    and takes two small matrix products per batch. All patches of a crop have the same area: the
    mean and the sum differ by a constant factor, which no ranking depends on.

    Args:
        maps: Saliency of whole images, ``(B, h, w)``.
        boxes: Crop in relative coordinates ``(x0, y0, x1, y1)`` of the whole image, ``(B, 4)``. A
            flip is a reversed axis: ``x0 > x1`` for a horizontal, ``y0 > y1`` for a vertical flip.
        grid: Rows and columns of the crop's patches.

    Returns:
        ``(B, rows * columns)`` fp32.
    """
    with torch.autocast(maps.device.type, enabled=False):
        maps, boxes = maps.float(), boxes.float()
        down = _interval_means(boxes[:, 1], boxes[:, 3], grid[0], maps.shape[1])  # (B, rows, h)
        across = _interval_means(boxes[:, 0], boxes[:, 2], grid[1], maps.shape[2])  # (B, cols, w)
        # Means of non-negative values; rounding may yield -1e-9.
        return (down @ maps @ across.transpose(1, 2)).clamp_min(0).flatten(1)


def _interval_means(start: Tensor, stop: Tensor, parts: int, cells: int) -> Tensor:
    """Compute the weight of each cell in the mean over each of ``parts`` equal intervals.

    Returns:
        ``(B, parts, cells)``; every row sums to 1.
    """
    steps = torch.linspace(0, 1, parts + 1, device=start.device)
    # Edges in units of cells, cell k centred at k.
    edges = (start[:, None] + (stop - start)[:, None] * steps) * cells - 0.5  # (B, parts + 1)
    # One more cell at either side stands for the constant continuation.
    centres = torch.arange(-1, cells + 1, device=start.device)
    offset = (edges[:, :, None] - centres).clamp(-1, 1)
    area = offset + 0.5 - 0.5 * offset * offset.abs()  # integral of the hat up to each edge
    means = area.diff(dim=1) / edges.diff(dim=1)[:, :, None]
    means[:, :, 1] += means[:, :, 0]
    means[:, :, -2] += means[:, :, -1]
    return means[:, :, 1:-1]
