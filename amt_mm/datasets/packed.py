"""PackedImages: a data set in one memory-mapped file.

File layout: 4096 bytes of header (magic, then JSON padded with spaces), the unchanged image files
one after another, then the index: offsets of the images (uint64, one more than samples), labels
(int32, -1 for none), offsets of the names (uint64), names (UTF-8), classes (JSON). Nothing is
unpickled.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
from mmengine.dataset import BaseDataset

from amt_mm.errors import InputError
from amt_mm.json_files import parse_json
from amt_mm.registry import DATASETS

MAGIC = b'AMTPACK1'
HEADER_BYTES = 4096
_FIELDS = {'num_samples': int, 'fingerprint': str, 'index_start': int, 'names_bytes': int,
           'index_crc32': int}
# Of amt_mm.saliency.fingerprint: it stands in logs and model cards.
_FINGERPRINT = re.compile(r'\d+-[0-9a-f]{32}')


@DATASETS.register_module()
class PackedImages(BaseDataset):
    """The samples of a file written by ``tools/dataset_tools/pack_dataset.py``.

    One file instead of millions: no folder to list at start, no file to open per sample, and
    predictable reads for slow or remote disks. Ranks and workers of a node share its mapped
    pages, so nothing is copied before the decoder. Names, order and identity
    (:func:`dataset_fingerprint`) are those of the original data set, so saliency maps of one
    fit the other.

    Samples have ``img_path`` (the name) and ``img_bytes`` (the content of the file), which
    :class:`ReadImage` and :class:`LoadImage` use instead of reading the file.

    Args:
        path: The file.
        pipeline: Transforms, or their configs.
        metainfo: Meta information. Defaults to the classes of the packed data set.
        test_mode: Stop at unreadable samples instead of drawing others.
        max_refetch: Number of draws before that stops too. Defaults to MMEngine's 1000.
        indices: Of MMEngine's data sets; refused.

    Raises:
        InputError: The file is missing, of another kind, or damaged; or a part of it is asked for.
    """

    def __init__(self, path: str, pipeline: Sequence = (), metainfo: dict | None = None,
                 test_mode: bool = False, max_refetch: int = 1000, indices: None = None) -> None:
        self.path = Path(path).expanduser()
        if indices is not None:
            self.get_subset(indices)
        super().__init__(metainfo=metainfo, pipeline=list(pipeline), test_mode=test_mode,
                         serialize_data=False, lazy_init=True, max_refetch=max_refetch)
        self.full_init()

    def full_init(self) -> None:
        """Map the file and check its header and index."""
        if self._fully_initialized:
            return
        header = _read_header(self.path)
        self._samples: int = header['num_samples']
        self.fingerprint: str = header['fingerprint']
        self._data = np.memmap(self.path, np.uint8, 'r')
        index = self._data[header['index_start']:]
        fixed = (self._samples + 1) * 16 + self._samples * 4 + header['names_bytes']
        if len(index) < fixed or zlib.crc32(index) != header['index_crc32']:
            raise self._damaged()
        place = 0

        def take(count: int, dtype: str) -> np.ndarray:
            nonlocal place
            size = count * np.dtype(dtype).itemsize
            part = np.frombuffer(index, dtype, count, place)
            place += size
            return part

        self._starts = take(self._samples + 1, '<u8')
        self._labels = take(self._samples, '<i4')
        self._name_starts = take(self._samples + 1, '<u8')
        self._names = take(header['names_bytes'], 'u1')
        # The header has no checksum: its numbers must match the index.
        ends = *self._starts[[0, -1]].tolist(), *self._name_starts[[0, -1]].tolist()
        if ends != (HEADER_BYTES, header['index_start'], 0, header['names_bytes']) or any(
                (starts[1:] < starts[:-1]).any() for starts in (self._starts, self._name_starts)):
            raise self._damaged()
        try:
            classes = parse_json(bytes(index[place:]))
        except ValueError as error:
            raise self._damaged() from error
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise self._damaged()
        if classes and 'classes' not in self._metainfo:
            self._metainfo['classes'] = tuple(classes)
        self._fully_initialized = True

    def _damaged(self) -> InputError:
        return InputError(f'{self.path}: the index is damaged or truncated; pack the data set '
                          'again')

    def __getstate__(self) -> dict:
        """Leave out the mapping, which pickling would turn into a copy of the file."""
        mapped = ('_data', '_starts', '_labels', '_name_starts', '_names')
        return {**{k: v for k, v in self.__dict__.items() if k not in mapped},
                '_fully_initialized': False}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self.full_init()

    def __len__(self) -> int:
        return self._samples

    def get_subset(self, indices: object) -> NoReturn:
        """Refuse: MMEngine's would return the whole data set, whose samples are not in a list."""
        raise InputError(f'{self.path}: PackedImages takes no part of its images: use '
                         'torch.utils.data.Subset, or pack that part alone')

    get_subset_ = get_subset

    def get_data_info(self, idx: int) -> dict:
        """Return name, content and label of a sample.

        Returns:
            ``img_path``, ``img_bytes`` (a view of the mapped file), ``sample_idx`` and, if the
            packed data set had one, ``gt_label``.
        """
        idx = range(self._samples)[idx]
        name = self._names[int(self._name_starts[idx]):int(self._name_starts[idx + 1])]
        content = self._data[int(self._starts[idx]):int(self._starts[idx + 1])]
        info = {'img_path': bytes(name).decode('utf-8', 'surrogateescape'),
                'img_bytes': memoryview(content), 'sample_idx': idx}
        label = int(self._labels[idx])
        return {**info, 'gt_label': label} if label >= 0 else info


def _read_header(path: Path) -> dict:
    try:
        with open(path, 'rb') as file:
            start = file.read(HEADER_BYTES)
    except OSError as error:
        raise InputError(f'{path}: {error.strerror}; a packed data set is written by '
                         'tools/dataset_tools/pack_dataset.py') from error
    if not start.startswith(MAGIC):
        raise InputError(f'{path}: is not a packed data set')
    try:
        header = parse_json(start[len(MAGIC):])
        if any(type(header.get(name)) is not kind for name, kind in _FIELDS.items()) or any(
                value < 0 for value in header.values() if type(value) is int) or (
                    not _FINGERPRINT.fullmatch(header['fingerprint'])):
            raise ValueError
    except (ValueError, AttributeError) as error:
        raise InputError(f'{path}: the header is damaged; pack the data set again') from error
    return header
