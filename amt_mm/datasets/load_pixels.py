"""Load images of any number of channels and any depth."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np

from amt_mm.errors import InputError
from amt_mm.registry import TRANSFORMS

from .frames import read_frame, split_frame
from .loading import LoadImage
from .pixel_arrays import load_array, read_pixels
from .windows import apply_window, check_window

MOST_CHANNELS = 1024


@TRANSFORMS.register_module()
class LoadPixels(LoadImage):
    """Load an image of any number of channels and any depth, values scaled to 0 to 255.

    For images other than photographs: satellite bands, microscopy, X-ray, CT, thermal and
    industrial cameras. :func:`~amt_mm.datasets.pixel_arrays.read_pixels` has the formats. Channels
    are in the order of the file, colours RGB; nothing is composited, converted or guessed.

    Required keys: ``img_path`` (with or without ``img_bytes``) or ``img``. Added keys: ``img``,
    ``(H, W, C)``, float32, or uint8 of 8-bit images without a window; ``img_shape``, ``ori_shape``.

    Args:
        channels: Number of channels, which every file must have; or the indices of those to
            take, from 0, in this order.
        window: Range of values that becomes 0 to 255, see
            :func:`~amt_mm.datasets.windows.apply_window`; for the channels taken. Defaults to None:
            8-bit images as they are, others are refused, because their range cannot be known.
        pages: What pages or frames are, see :func:`~amt_mm.datasets.pixel_arrays.read_pixels`; or
            ``'frames'`` if each is an image of its own, whose ``img_path`` is ``scan.tif#12``, see
            :class:`ImageFolder`.
        channel_axis: Of arrays, see there. Frames of arrays have their channels last.
        ignore_empty: See :class:`LoadImage`.
        backend_args: See :class:`LoadImage`.

    Raises:
        UnreadableImage: Names the file and why it cannot be read.
        InputError: An argument is invalid, a package is missing, or an image has other channels,
            several pages, values that need a window, or another size than its labels are for.
    """

    def __init__(self, channels: int | Sequence[int], window: Sequence | Mapping | None = None,
                 pages: str | int | None = None, channel_axis: int | None = None,
                 ignore_empty: bool = False, *, backend_args: dict | None = None) -> None:
        super().__init__(ignore_empty=ignore_empty, backend_args=backend_args)
        self.count = channel_count(channels)
        self.channels = channels
        if not (pages in (None, 'channels', 'frames') or (type(pages) is int and pages >= 0)):
            raise InputError(f"pixels.pages={pages!r} must be 'channels', 'frames' or the index of "
                             'a page, from 0')
        if channel_axis not in (None, 0, -1):
            raise InputError(f'pixels.channel_axis={channel_axis!r} must be 0 or -1')
        if pages == 'frames' and channel_axis is not None:
            raise InputError("pixels.channel_axis: arrays are (frames, H, W) or (frames, H, W, C) "
                             "with pixels.pages='frames'; leave it out")
        check_window(window, self.count)
        self.window, self.pages, self.channel_axis = window, pages, channel_axis

    def _get(self, path: str) -> bytes | memoryview | np.ndarray:
        file, frame = self._frame(path)
        return super()._get(path) if frame is None else read_frame(file, frame)

    def _decode(self, content: bytes | memoryview | np.ndarray, path: str) -> np.ndarray:
        if isinstance(content, np.ndarray):
            values = content
        elif self._frame(path)[1] is not None:
            # Of PackedImages.
            values = load_array(io.BytesIO(content))
        else:
            values = read_pixels(bytes(content), path, None if self.pages == 'frames'
                                 else self.pages, self.channel_axis)
        values = self.take(values, path)
        if self.window is not None:
            return apply_window(values, self.window)
        if values.dtype != np.uint8:
            raise InputError(
                f'{path}: {values.dtype} values from {np.nanmin(values):g} to '
                f'{np.nanmax(values):g}, which are not 0 to 255 of 8 bits: set pixels.window to '
                'the (low, high) that become 0 and 255; amt statistics FOLDER finds them')
        return np.ascontiguousarray(values)

    def _as_labelled(self, image: np.ndarray, content: bytes | memoryview | np.ndarray,
                     size: tuple[int, int], path: str) -> np.ndarray:
        raise InputError(f'{path}: has {image.shape[0]} x {image.shape[1]} pixels, but its labels '
                         f'are for {size[0]} x {size[1]} (height x width)')

    def _frame(self, path: str) -> tuple[str, int | None]:
        return split_frame(path) if self.pages == 'frames' else (path, None)

    def take(self, values: np.ndarray, path: str) -> np.ndarray:
        """Check and choose the channels of ``(H, W, C)`` values.

        Raises:
            InputError: The image has others.
        """
        found = values.shape[2]
        if isinstance(self.channels, int):
            if found != self.channels:
                raise InputError(f'{path}: has {found} channel(s), but pixels.channels is '
                                 f'{self.channels}: all images must have as many, or list the '
                                 'indices of those to take')
            return values
        if max(self.channels) >= found:
            raise InputError(f'{path}: has {found} channel(s), so there is none of index '
                             f'{max(self.channels)} (pixels.channels)')
        return values[:, :, list(self.channels)]


def channel_count(channels: object) -> int:
    """Return the number of channels that ``pixels.channels`` asks for.

    Raises:
        InputError: Neither a number of channels nor a list of different indices.
    """
    if type(channels) is int and 1 <= channels <= MOST_CHANNELS:
        return channels
    if (isinstance(channels, (list, tuple)) and channels
            and all(type(index) is int and 0 <= index < MOST_CHANNELS for index in channels)
            and len(set(channels)) == len(channels)):
        return len(channels)
    raise InputError(f'pixels.channels={channels!r} must be the number of channels, from 1 to '
                     f'{MOST_CHANNELS}, or the indices of those to take, from 0')
