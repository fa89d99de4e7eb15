"""Sizes, depths, faults and statistics of the images of a folder, for how they are to be read."""

from __future__ import annotations

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from amt_mm.datasets.frames import read_frame, split_frame
from amt_mm.datasets.image_folder import ALL_EXTENSIONS, ImageFolder
from amt_mm.datasets.loading import unreadable_reason
from amt_mm.datasets.optional_packages import MissingPackage
from amt_mm.datasets.pixel_arrays import read_pixels
from amt_mm.datasets.unreadable import is_shortage, want_of_memory
from amt_mm.datasets.windows import apply_window
from amt_mm.errors import InputError

# Of values below and above, a window leaves out this many per cent of the pixels.
PERCENTILES = (0.5, 99.5)
_QUANTILES = (0, PERCENTILES[0], 50, PERCENTILES[1], 100)
# Pixels of each image that count; more of a large image say nothing new.
_PIXELS = 4096
# Pixels of all images that count, so that memory is bounded: 64 MB a channel.
_ALL_PIXELS = 2**24


@dataclass(frozen=True)
class Channel:
    """Values of one channel over all images, each of which counts the same.

    Attributes:
        low: The least value; NaN, which marks missing pixels, is left out.
        percentiles: The values below which :data:`PERCENTILES` and half of the pixels are, in
            order.
        high: The greatest value.
        mean: After the window, in 0..255.
        std: Likewise.
    """

    low: float
    percentiles: tuple[float, float, float]
    high: float
    mean: float
    std: float


@dataclass(frozen=True)
class Statistics:
    """What is in a folder of images.

    Attributes:
        images: Number of images that can be read.
        broken: Reasons by path of those that cannot.
        duplicates: Groups of paths with the same bytes.
        sizes: Number of images by ``(height, width)``.
        kinds: Number of images by ``(type, channels)``, such as ``('uint16', 6)``; the commonest
            first.
        others: Paths by kind, of all kinds but the commonest.
        channels: Of each channel; empty if images differ in their number of channels.
        window: Range of each channel that becomes 0..255; None of 8-bit images, which are in it.
    """

    images: int
    broken: dict[str, str]
    duplicates: tuple[tuple[str, ...], ...]
    sizes: dict[tuple[int, int], int]
    kinds: dict[tuple[str, int], int]
    others: dict[tuple[str, int], tuple[str, ...]]
    channels: tuple[Channel, ...]
    window: tuple[tuple[float, float], ...] | None

    @property
    def photographs(self) -> bool:
        """Whether all images are grey or colours of 8 bits, with or without alpha."""
        return all(kind == 'uint8' and count <= 4 for kind, count in self.kinds)

    @property
    def mixed(self) -> bool:
        """Whether images differ in their number of channels, or some have 8 bits and others more.

        In the window of deep values, images of 8 bits would be black.
        """
        return not self.channels or (
            self.window is not None and any(kind == 'uint8' for kind, _ in self.kinds))

    def to_json(self) -> dict:
        """Return the same for ``json.dumps``."""
        return {**asdict(self),
                'sizes': [[*size, count] for size, count in self.sizes.items()],
                'kinds': [[*kind, count] for kind, count in self.kinds.items()],
                'others': [[*kind, list(names)] for kind, names in self.others.items()]}


@dataclass(frozen=True)
class _Look:
    """One image: its size, type, digest and some of its pixels ``(n, C)``."""

    size: tuple[int, int]
    kind: tuple[str, int]
    digest: bytes
    pixels: np.ndarray


def image_statistics(folder: str | Path, pages: str | int | None = None,
                     channel_axis: int | None = None) -> Statistics:
    """Read every image of a folder.

    At most 4,096 pixels of each image count, on a regular grid, so a large image weighs no more
    than a small one.

    Args:
        folder: As :class:`amt_mm.datasets.ImageFolder` reads it, splits and classes alike.
        pages: See :class:`amt_mm.datasets.LoadPixels`.
        channel_axis: See there.

    Raises:
        InputError: No such folder, no image that can be read, or it is unclear what pages are.
    """
    dataset = ImageFolder(str(folder), split=None, with_label=False, extensions=ALL_EXTENSIONS,
                          frames=pages == 'frames')
    root = Path(folder)
    paths = [Path(dataset.get_data_info(i)['img_path']) for i in range(len(dataset))]
    most = max(1, min(_PIXELS, _ALL_PIXELS // len(paths)))
    looks, broken = {}, {}
    with ThreadPoolExecutor() as pool:
        found = pool.map(partial(_look, pages=pages, channel_axis=channel_axis, most=most), paths)
        for path, look in zip(paths, tqdm(found, desc='images', total=len(paths), unit='image',
                                          disable=None), strict=True):
            name = str(path.relative_to(root))
            if isinstance(look, str):
                broken[name] = look
            else:
                looks[name] = look
    if not looks:
        name, reason = next(iter(broken.items()))
        raise InputError(f'{folder}: none of its {len(paths)} images can be read; {name}: {reason}')
    same = defaultdict(list)
    for name, look in looks.items():
        same[look.digest].append(name)
    kinds = _counted(look.kind for look in looks.values())
    window, channels = None, ()
    if len({count for _, count in kinds}) == 1:
        pixels = [look.pixels for look in looks.values()]
        deep = any(kind != 'uint8' for kind, _ in kinds)
        window, channels = _channels(pixels, deep)
    return Statistics(
        images=len(looks), broken=broken,
        duplicates=tuple(tuple(names) for names in same.values() if len(names) > 1),
        sizes=_counted(look.size for look in looks.values()), kinds=kinds,
        others={kind: tuple(name for name, look in looks.items() if look.kind == kind)
                for kind in list(kinds)[1:]},
        channels=channels, window=window)


def _look(path: Path, pages: str | int | None, channel_axis: int | None, most: int) -> _Look | str:
    """Read an image, or say why it cannot be read."""
    file, frame = split_frame(str(path)) if pages == 'frames' else (str(path), None)
    try:
        with want_of_memory(path):
            if frame is not None:
                values = np.ascontiguousarray(read_frame(file, frame))
                content = values.data
            else:
                content = path.read_bytes()
                values = read_pixels(content, file, None if pages == 'frames' else pages,
                                     channel_axis)
    except MissingPackage as error:
        raise InputError(f'{path}: {error}') from error
    except Exception as error:  # decoders raise anything on broken bytes
        if isinstance(error, InputError) or is_shortage(error):
            raise
        return unreadable_reason(error)
    height, width, channels = values.shape
    step = math.ceil(math.sqrt(height * width / most))
    # From the middle of each cell of the grid.
    start = [min((step - 1) // 2, side - 1) for side in (height, width)]
    chosen = values[start[0]::step, start[1]::step].reshape(-1, channels)
    return _Look((height, width), (str(values.dtype), channels),
                 hashlib.blake2b(content, digest_size=16).digest(), chosen.copy())


def _counted(values) -> dict:
    return dict(Counter(values).most_common())


def _channels(pixels: Sequence[np.ndarray], deep: bool
              ) -> tuple[tuple[tuple[float, float], ...] | None, tuple[Channel, ...]]:
    """Choose a window for values that need one, and compute the statistics of each channel."""
    weights = np.concatenate([np.full(len(part), 1 / len(part)) for part in pixels])
    window, channels = [], []
    for index in range(pixels[0].shape[1]):
        values = np.concatenate([part[:, index] for part in pixels]).astype(np.float64)
        there = np.isfinite(values)
        quantiles = _quantiles(values[there], weights[there])
        if deep:
            low, high = quantiles[1], quantiles[3]
            if not low < high:  # one value nearly everywhere, or none
                low = quantiles[0] if there.any() else 0.0
                high = max(quantiles[4], low + 1) if there.any() else 1.0
            window.append((low, high))
            values = apply_window(values[None, :, None], (low, high)).astype(np.float64).ravel()
        mean = float(np.average(values, weights=weights))
        std = math.sqrt(np.average((values - mean)**2, weights=weights))
        channels.append(Channel(quantiles[0], (quantiles[1], quantiles[2], quantiles[3]),
                                quantiles[4], mean, std))
    return (tuple(window) if deep else None), tuple(channels)


def _quantiles(values: np.ndarray, weights: np.ndarray) -> list[float]:
    """Weighted :data:`_QUANTILES` of values, which are among them; NaN of none."""
    if not len(values):
        return [math.nan] * len(_QUANTILES)
    order = np.argsort(values, kind='stable')
    share = np.cumsum(weights[order])
    places = np.searchsorted(share, np.asarray(_QUANTILES) / 100 * share[-1])
    return [float(values[order[min(place, len(values) - 1)]]) for place in places]


def config_fragment(statistics: Statistics, pages: str | int | None = None,
                    channel_axis: int | None = None) -> dict:
    """Return the settings with which training reads these images.

    Args:
        statistics: Of :func:`image_statistics`.
        pages: As there.
        channel_axis: As there.

    Returns:
        For photographs, mean and std of the preprocessor; for others, ``overlay.pixels``, see
        :func:`amt_mm.config.pixels.set_pixels`.

    Raises:
        InputError: Images differ in their number of channels, or some have 8 bits and others more.
    """
    photographs = statistics.photographs and pages is None
    if statistics.mixed and not photographs:
        kinds = ', '.join(f'{count} of {kind} with {channels} channel(s)'
                          for (kind, channels), count in statistics.kinds.items())
        raise InputError(f'images differ in their channels or bits ({kinds}), so they cannot be '
                         'read alike: sort them into folders')
    mean = [round(channel.mean, 3) for channel in statistics.channels]
    # Of a channel with one value alone, any.
    std = [round(channel.std, 3) or 1.0 for channel in statistics.channels]
    if photographs and len(mean) in (0, 3):
        return {'data_preprocessor': {'mean': mean, 'std': std}} if mean else {}
    given = dict(channels=len(mean), pages=pages, channel_axis=channel_axis,
                 window=statistics.window and [list(ends) for ends in statistics.window])
    return {'overlay': {'pixels': {
        **{name: value for name, value in given.items() if value is not None},
        'mean': mean, 'std': std}}}
