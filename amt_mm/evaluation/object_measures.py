"""J and F: how well the mask of an object is found, by its region and by its contour."""

from __future__ import annotations

import math

import cv2
import numpy as np

# Distance at which contours match, of the diagonal of the image, as in DAVIS.
_TOLERANCE = .008


def region_similarity(mask: np.ndarray, found: np.ndarray) -> float:
    """Return J, the intersection over union (Perazzi et al., CVPR 2016, section 5.1).

    Args:
        mask: The object's true pixels, ``(H, W)`` bool.
        found: Those that were found, likewise.

    Returns:
        0 to 1; 1 if both are empty.
    """
    union = np.count_nonzero(mask | found)
    return np.count_nonzero(mask & found) / union if union else 1.


def contour_accuracy(mask: np.ndarray, found: np.ndarray) -> float:
    """Return F, the harmonic mean of precision and recall of the contour.

    A pixel of one contour is right if the other passes within .008 of the image's diagonal,
    rounded up to whole pixels. As the code of DAVIS does, this replaces the one-to-one matching of
    the definition (Perazzi et al., CVPR 2016, section 5.1) by dilation with a disk.

    Args:
        mask: See :func:`region_similarity`.
        found: Likewise.

    Returns:
        0 to 1; 1 if both contours are empty, 0 if one of them is.
    """
    true, ours = _contour(mask), _contour(found)
    if not true.any() or not ours.any():
        return float(true.any() == ours.any())
    disk = _disk(math.ceil(_TOLERANCE * math.hypot(*mask.shape)))
    precision = np.count_nonzero(ours & cv2.dilate(true, disk)) / np.count_nonzero(ours)
    recall = np.count_nonzero(true & cv2.dilate(ours, disk)) / np.count_nonzero(true)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.


def _contour(mask: np.ndarray) -> np.ndarray:
    """Mark pixels that differ from the one to the right, below, or both; ``(H, W)`` uint8."""
    # Beyond the last row and column, the mask goes on.
    padded = np.pad(mask, ((0, 1), (0, 1)), mode='edge')
    differs = (mask != padded[:-1, 1:]) | (mask != padded[1:, :-1]) | (mask != padded[1:, 1:])
    return differs.astype(np.uint8)


def _disk(radius: int) -> np.ndarray:
    steps = np.arange(-radius, radius + 1)
    return (steps[:, None]**2 + steps**2 <= radius**2).astype(np.uint8)
