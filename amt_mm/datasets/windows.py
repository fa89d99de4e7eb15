"""Windows: which range of an image's values becomes 0 to 255."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from amt_mm.checks import is_number
from amt_mm.errors import InputError

PERCENTILES = 'percentiles'


def check_window(window: object, channels: int) -> None:
    """Refuse a window that :func:`apply_window` does not take.

    Args:
        window: See there.
        channels: Number of channels.

    Raises:
        InputError: It is not a window, or has another number of channels.
    """
    if window is None:
        return
    if isinstance(window, Mapping):
        low_high = window.get(PERCENTILES)
        if set(window) == {PERCENTILES} and _is_range(low_high) and (
                low_high[0] >= 0 and low_high[1] <= 100):
            return
    elif _is_range(window) or (
            isinstance(window, (list, tuple)) and len(window) == channels
            and all(map(_is_range, window))):
        return
    raise InputError(f'pixels.window={window!r} must be (low, high), {channels} of them, or '
                     "dict(percentiles=(low, high)), each with low < high")


def _is_range(value: object) -> bool:
    return (isinstance(value, (list, tuple)) and len(value) == 2
            and all(is_number(end) and np.isfinite(end) for end in value) and value[0] < value[1])


def apply_window(values: np.ndarray, window: Sequence | Mapping) -> np.ndarray:
    """Map a range of values to 0 to 255; values beyond it are clipped.

    Args:
        values: ``(H, W, C)`` numbers. NaN, which marks missing pixels in many rasters, becomes 0.
        window: ``(low, high)``, one for all channels or one for each; or
            ``dict(percentiles=(low, high))``, from 0 to 100, of each channel of this image.

    Returns:
        ``(H, W, C)`` float32.

    Raises:
        ValueError: A channel has one value alone, so that its percentiles are equal.
    """
    values = values.astype(np.float64 if values.dtype.itemsize > 4 else np.float32)
    if isinstance(window, Mapping):
        low, high = np.nanpercentile(values, window[PERCENTILES], axis=(0, 1))  # (C,) each
        if not (low < high).all():
            raise ValueError('a channel has one value nearly everywhere, so the percentiles of '
                             'its window are equal')
    else:
        low, high = np.moveaxis(np.asarray(window, values.dtype), -1, 0)  # () or (C,) each
    scaled = (values - low) * (255 / (high - low))
    return np.nan_to_num(np.clip(scaled, 0, 255), copy=False).astype(np.float32, copy=False)
