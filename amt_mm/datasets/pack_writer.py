"""Write a data set to one file, for :class:`PackedImages`."""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Iterable

import cv2
import numpy as np
from mmengine import fileio
from torch.utils.data import Dataset

from amt_mm.checkpoints.safe_save import atomic_file
from amt_mm.errors import InputError
from amt_mm.saliency import fingerprint

from .frames import read_frame, split_frame
from .packed import HEADER_BYTES, MAGIC
from .whole_image import base_dataset, sample_names
from .wrapper import refuse_own_reading


def pack(dataset: Dataset, path: str | os.PathLike,
         progress: type | None = None) -> tuple[int, int]:
    """Write all samples of a data set to one file.

    Image files are copied unchanged; images held in memory become lossless PNG files, and frames
    of a file, such as ``scan.tif#12``, arrays (.npy) of ``(H, W, C)``. A crash leaves an existing
    file at ``path`` as it was.

    Args:
        dataset: Built on ``mmengine.BaseDataset``; wrappers that repeat samples are skipped.
        path: Destination.
        progress: Wraps the iterable of indices, such as tqdm. Defaults to None.

    Returns:
        Number of samples and of bytes.

    Raises:
        InputError: A file of the data set cannot be read or is empty, the data set has no files
            and reads its images itself, or the disk refuses to write.
    """
    dataset = base_dataset(dataset)
    for part in getattr(dataset, 'datasets', (dataset, )):
        refuse_own_reading(part, 'pack')
    names = list(sample_names(dataset))
    starts = np.empty(len(names) + 1, '<u8')
    labels = np.full(len(names), -1, '<i4')
    indices: Iterable[int] = range(len(names))
    with atomic_file(path) as temporary, open(temporary, 'wb') as file:
        file.write(b'\0' * HEADER_BYTES)
        for i in progress(indices) if progress else indices:
            info = dataset.get_data_info(i)
            starts[i] = file.tell()
            file.write(_content(info))
            label = info.get('gt_label', -1)
            labels[i] = label if isinstance(label, (int, np.integer)) else -1
        starts[-1] = file.tell()
        encoded = [name.encode('utf-8', 'surrogateescape') for name in names]
        name_starts = np.cumsum([0, *map(len, encoded)], dtype='<u8')
        classes = json.dumps(list(dataset.metainfo.get('classes') or ())).encode()
        index = b''.join([starts.tobytes(), labels.tobytes(), name_starts.tobytes(), *encoded,
                          classes])
        file.write(index)
        header = {'num_samples': len(names), 'fingerprint': fingerprint(names),
                  'index_start': int(starts[-1]), 'names_bytes': int(name_starts[-1]),
                  'index_crc32': zlib.crc32(index)}
        size = file.tell()
        file.seek(0)
        file.write((MAGIC + json.dumps(header).encode()).ljust(HEADER_BYTES))
    return len(names), size


def _content(info: dict) -> bytes | memoryview:
    if 'img_bytes' in info:
        return info['img_bytes']
    if 'img' in info:
        return cv2.imencode('.png', info['img'])[1].tobytes()
    path, frame = split_frame(info['img_path'])
    try:
        if frame is not None:
            content = io.BytesIO()
            np.save(content, read_frame(path, frame), allow_pickle=False)
            return content.getvalue()
        content = fileio.get(info['img_path'])
    except OSError as error:
        raise InputError(f'{info["img_path"]}: {error.strerror}') from error
    if not content:
        raise InputError(f'{info["img_path"]}: the file is empty; replace or remove it')
    return content
