"""Mean intersection over union, by a confusion matrix over all pixels of a data set."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Logits that are upsampled at a time: 256 MB in float32.
_NUMBERS = 2**26


def confusion(labels: Tensor, predictions: Tensor, num_classes: int) -> Tensor:
    """Count pixels by label and prediction.

    Args:
        labels: Integer classes of any shape; those of ``num_classes`` or more are ignored.
        predictions: Integer classes of the same shape.
        num_classes: C.

    Returns:
        ``(C, C)`` int64: [label, prediction].
    """
    counted = labels < num_classes
    pairs = labels[counted].long() * num_classes + predictions[counted].long()
    return torch.bincount(pairs, minlength=num_classes**2).view(num_classes, num_classes)


def class_ious(matrix: Tensor) -> Tensor:
    """Return the intersection over union of each class, 0 to 1.

    Args:
        matrix: From :func:`confusion`, summed over all images.

    Returns:
        ``(C,)`` float64; NaN for a class that is neither labelled nor predicted anywhere.
    """
    matrix = matrix.double()
    found = matrix.diagonal()
    return found / (matrix.sum(dim=0) + matrix.sum(dim=1) - found)


def upsampled_classes(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the classes of the largest logits, upsampled bilinearly.

    The same as ``F.interpolate(..., mode='bilinear', align_corners=False)`` and ``argmax``, some
    rows at a time: 150 classes of a photograph of 12 megapixels would take 7 GB.

    Args:
        logits: ``(C, h, w)``.
        size: Height H and width W in pixels.

    Returns:
        ``(H, W)`` int64.
    """
    # Bilinear is linear in each axis, so what it does to unit vectors says all.
    rows, columns = (
        F.interpolate(torch.eye(short, device=logits.device)[None], size=length, mode='linear')[0]
        for short, length in zip(logits.shape[1:], size, strict=True))  # (h, H), (w, W)
    wide = logits @ columns  # (C, h, W)
    step = max(1, _NUMBERS // (len(logits) * size[1]))
    return torch.cat([torch.einsum('chw,hr->crw', wide, part).argmax(dim=0)
                      for part in rows.split(step, dim=1)])
