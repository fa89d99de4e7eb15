"""A perceptually uniform colour map.

It interpolates five anchors along a line in OKLab (Ottosson, 2020), where equal distances
look equally different, in steps of equal length. Lightness only increases, so the map also
reads in greyscale and with colour blindness.
"""

from __future__ import annotations

from functools import cache

import numpy as np

# Dark indigo, purple, red, orange, pale yellow.
_ANCHORS = ('#0d0a26', '#5a1a78', '#c23a62', '#f48c3a', '#fdf5b5')
_TO_LMS = np.array([[0.4122214708, 0.5363325363, 0.0514459929],
                    [0.2119034982, 0.6806995451, 0.1073969566],
                    [0.0883024619, 0.2817188376, 0.6299787005]])
_TO_LAB = np.array([[0.2104542553, 0.7936177850, -0.0040720468],
                    [1.9779984951, -2.4285922050, 0.4505937099],
                    [0.0259040371, 0.7827717662, -0.8086757660]])


def apply_colours(values: np.ndarray) -> np.ndarray:
    """Map values from 0 (dark) to 1 (bright) to colours.

    Args:
        values: Array of any shape (...), clipped to [0, 1].

    Returns:
        (..., 3) uint8 RGB.
    """
    return colour_table()[np.rint(np.clip(values, 0, 1) * 255).astype(np.intp)]


@cache
def colour_table() -> np.ndarray:
    """Return the colour map as (256, 3) uint8 RGB."""
    anchors = np.array([[int(a[i : i + 2], 16) for i in (1, 3, 5)] for a in _ANCHORS])
    lab = rgb_to_oklab(anchors)
    lengths = np.linalg.norm(np.diff(lab, axis=0), axis=1)
    position = np.concatenate([[0], np.cumsum(lengths)])
    steps = np.linspace(0, position[-1], 256)
    path = np.stack([np.interp(steps, position, lab[:, i]) for i in range(3)], axis=1)
    return _oklab_to_rgb(path)


def rgb_to_oklab(rgb: np.ndarray) -> np.ndarray:
    """Convert (..., 3) sRGB in 0..255 to (..., 3) OKLab."""
    value = np.asarray(rgb, dtype=np.float64) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T


def _oklab_to_rgb(lab: np.ndarray) -> np.ndarray:
    """Convert (..., 3) OKLab to (..., 3) uint8 sRGB, clipped to the gamut."""
    linear = (lab @ np.linalg.inv(_TO_LAB).T) ** 3 @ np.linalg.inv(_TO_LMS).T
    linear = np.clip(linear, 0, 1)
    value = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(value * 255).astype(np.uint8)
