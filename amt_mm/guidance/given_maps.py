"""Read saliency maps that somebody else made: an .npz file, or a folder of grey PNG files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from amt_mm.datasets.download.unpacking import most_unpacked
from amt_mm.datasets.loading import refuse_bomb
from amt_mm.datasets.png_texts import PNG, without_texts
from amt_mm.errors import InputError
from amt_mm.saliency import min_max, resample

# Names in a message.
_SHOWN = 5
# Bytes that any file may unpack to: masks of large objects are compressed beyond other arrays.
_FEW_BYTES = 1 << 29


class GivenMaps:
    """Maps of images by their names, in any of three forms.

    - An ``.npz`` file with an array of ``names``, ``(n,)``, and one of ``maps``, ``(n, h, w)``;
    - another ``.npz`` file, with one array for each image, ``(h, w)``, under the image's name;
    - a folder with one grey PNG file for each image, ``cat/a.png`` for ``cat/a.jpg``.

    Names are paths relative to the root of the data set. Values are of any numeric type and range;
    each map is scaled to [0, 1] by its own smallest and largest value, as attention is
    (:func:`amt_mm.saliency.min_max`).

    Args:
        path: The file or folder.
        names: Array of the names.
        maps: Array of the maps.
        below: Folder that the names are relative to instead, itself relative to the root.

    Raises:
        InputError: No such file, of another kind, or damaged, or one that unpacks to far more than
            its size; ``maps`` is missing, has another shape than one map a name, or a name stands
            twice.
    """

    def __init__(self, path: str | os.PathLike, names: str = 'names', maps: str = 'maps',
                 below: str = '') -> None:
        self.path = Path(path).expanduser()
        self._below = below.rstrip('/') + '/' if below else ''
        self._file: np.lib.npyio.NpzFile | None = None
        self._stack: np.ndarray | None = None
        self._rows: dict[str, int] = {}
        if self.path.is_dir():
            return
        self._file = self._open()
        self._rows = self._numbered(self._file.files)
        if names in self._rows:
            self._read_stack(names, maps)

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns that all maps have; None if each may have its own."""
        return None if self._stack is None else self._stack.shape[1:]

    def check(self, samples: Sequence[str]) -> None:
        """Raise InputError if an image has no map, or two images would share one.

        Args:
            samples: Names of the images, see :func:`amt_mm.datasets.whole_image.sample_names`.
        """
        missing = [name for name in samples if not self._has(name)]
        if missing:
            more = f' and {len(missing) - _SHOWN} others' * (len(missing) > _SHOWN)
            raise InputError(
                f'{self.path}: {len(missing)} of {len(samples)} training images have no map: '
                f'{", ".join(missing[:_SHOWN])}{more}; {self._held()}')
        first: dict[str, str] = {}
        for name in samples:
            if (other := first.setdefault(self._key(name), name)) != name:
                raise InputError(f'{self.path}: {other} and {name} would both use the map '
                                 f'{self._key(name)}; rename one of the images')

    def read(self, name: str, grid: tuple[int, int]) -> Tensor:
        """Read the map of an image.

        Args:
            name: Name of the image.
            grid: Rows and columns of the result. A map of another grid is averaged over each cell.

        Returns:
            ``(rows * columns,)`` fp32 in [0, 1]; zeros for a constant map.

        Raises:
            InputError: It is not an array of two axes, not grey, not finite, or unreadable.
        """
        values = self._values(name)
        if values.ndim != 2 or not values.size or values.dtype.kind not in 'biuf':
            shape = ' x '.join(map(str, values.shape))
            raise InputError(f'{self.path}: the map of {name} is an array {shape or "()"} of '
                             f'{values.dtype}; it must have rows and columns of numbers')
        try:
            refuse_bomb(*values.shape)
        except Image.DecompressionBombError as error:
            raise InputError(f'{self.path}: the map of {name}: {error}') from error
        values = torch.from_numpy(np.ascontiguousarray(values, np.float32))[None]  # (1, h, w)
        if not values.isfinite().all():
            raise InputError(f'{self.path}: the map of {name} has values that are not finite')
        scaled = min_max(values.flatten(1))
        if values.shape[1:] != grid:
            whole = torch.tensor([[0., 0., 1., 1.]])
            scaled = min_max(resample(scaled.view_as(values), whole, grid))
        return scaled[0]

    def _open(self) -> np.lib.npyio.NpzFile:
        try:
            file = np.load(self.path, allow_pickle=False)
        except OSError as error:
            raise InputError(f'{self.path}: {error.strerror or error}; maps are an .npz file or a '
                             'folder of PNG files') from error
        # A file without numpy's magic is taken for a pickle, one without anything is at its end;
        # a damaged archive is one of neither, and a damaged header raises nearly anything.
        except Exception as error:
            raise InputError(f'{self.path}: not an .npz file; maps are an .npz file or a folder of '
                             'PNG files') from error
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise InputError(f'{self.path}: one array without names; write an .npz file: '
                             'np.savez(FILE, names=NAMES, maps=MAPS)')
        size = sum(member.file_size for member in file.zip.infolist())
        if size > max(most_unpacked(self.path.stat().st_size), _FEW_BYTES):
            raise InputError(f'{self.path}: unpacks to {size / 1e9:,.1f} GB, more than 100 times '
                             'its size: if these are maps, write them by np.savez, which does not '
                             'compress')
        return file

    def _read_stack(self, names: str, maps: str) -> None:
        if maps not in self._rows:
            raise InputError(f'{self.path}: array {names!r}, but no array {maps!r}; {self._held()}')
        found, self._stack = self._array(names), self._array(maps)
        if found.ndim != 1 or found.dtype.kind != 'U':
            raise InputError(f'{self.path}: {names} must be a list of text, not an array '
                             f'{found.shape} of {found.dtype}')
        if self._stack.ndim != 3 or not self._stack.size or len(self._stack) != len(found):
            raise InputError(f'{self.path}: {maps} is an array {self._stack.shape}; with '
                             f'{len(found)} {names}, it must be ({len(found)}, rows, columns)')
        self._rows = self._numbered(found.tolist())

    def _numbered(self, names: list[str]) -> dict[str, int]:
        rows = {name: row for row, name in enumerate(names)}
        if len(rows) != len(names):
            (name, count), = Counter(names).most_common(1)
            raise InputError(f'{self.path}: {count} maps are named {name}; an image has one map')
        return rows

    def _array(self, name: str) -> np.ndarray:
        try:
            values = self._file[name]
            if isinstance(values, bytes):  # numpy's answer to any other member of the archive
                raise ValueError('not an array')
            return values
        # Damaged headers raise nearly anything, of memory where they claim more than there is.
        except Exception as error:
            raise InputError(f'{self.path}: {name} cannot be read ({error})') from error

    def _key(self, sample: str) -> str:
        """Return the name under which the map of an image is kept."""
        key = sample.removeprefix(self._below)
        return key if self._file else str(Path(key).with_suffix('.png'))

    def _has(self, sample: str) -> bool:
        key = self._key(sample)
        return sample.startswith(self._below) and (
            key in self._rows if self._file else (self.path / key).is_file())

    def _values(self, sample: str) -> np.ndarray:
        key = self._key(sample)
        if self._stack is not None:
            return self._stack[self._rows[key]]
        if self._file:
            return self._array(key)
        content = (self.path / key).read_bytes()
        try:
            # Width and height in its header.
            refuse_bomb(*np.frombuffer(content[16:24], '>u4').tolist())
            image = cv2.imdecode(np.frombuffer(without_texts(content), np.uint8),
                                 cv2.IMREAD_UNCHANGED) if content.startswith(PNG) else None
        except Exception:
            image = None
        if image is None:
            raise InputError(f'{self.path / key}: not a PNG file that can be read')
        return image

    def _held(self) -> str:
        """Return what there is instead, and what to do, for a message."""
        if not self._file:
            return 'set `below` if its files are named relative to a subfolder of the data set'
        held = ', '.join([*self._rows][:_SHOWN]) + ', ...' * (len(self._rows) > _SHOWN)
        return (f'it has {held or "nothing"}: set `names` and `maps` to its arrays, and `below` to '
                'the folder that its names are relative to')
