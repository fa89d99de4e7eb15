"""Antialiased resizing of 8-bit images."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import interpolate


def resize_antialiased(image: np.ndarray, size: tuple[int, int], interpolation: str = 'bicubic'
                       ) -> np.ndarray:
    """Resize as Pillow does, several times faster.

    torch's kernel for 8 bits uses Pillow's filters and its fixed-point arithmetic, on four
    channels at a time. OpenCV's bilinear and bicubic filters are not widened when they
    shrink, so that fine texture turns into false coarse one.

    Args:
        image: ``(H, W, 3)`` uint8.
        size: Height and width of the result.
        interpolation: ``'bicubic'`` or ``'bilinear'``.

    Returns:
        ``(height, width, 3)`` uint8, contiguous; within 1 of Pillow's, but for one
        value in 200.
    """
    # (1, 3, H, W) on memory of (1, H, W, 3), with the strides that torch calls channels_last: any
    # others, and it turns the result into planes, at twice the time.
    batch = torch.from_numpy(np.ascontiguousarray(image))[None].permute(0, 3, 1, 2)
    out = interpolate(batch, size, mode=interpolation, antialias=True, align_corners=False)
    return out.permute(0, 2, 3, 1).numpy()[0]
