"""Which images a result belongs to."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import ConfigDict
from mmpretrain.registry import DATASETS
from torch.utils.data import Dataset

from amt_mm.datasets import base_dataset, dataset_fingerprint
from amt_mm.datasets.frames import split_frame

# Per process, because listing ImageNet takes seconds and many runs share a data set.
_KNOWN: dict[str, str] = {}


def image_identity(config: ConfigDict) -> str:
    """Identify the images of a data set by names, order, labels and sizes of their files and masks.

    Of a data set with ``list_files``, which tell what the images show, the bytes count too.

    Args:
        config: The data set's.

    Returns:
        A hash, the same wherever the data set lies.
    """
    # How images are loaded decides which files, and whether their frames, are samples.
    key = repr({**config, 'pipeline': (config.get('pipeline') or [])[:1]})
    if key not in _KNOWN:
        _KNOWN[key] = identity_of(DATASETS.build(config))
    return _KNOWN[key]


def identity_of(dataset: Dataset) -> str:
    """As :func:`image_identity`, of a data set that is built."""
    digest = hashlib.blake2b(dataset_fingerprint(dataset).encode(), digest_size=16)
    dataset = base_dataset(dataset)
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        for size in _sizes(info):
            digest.update(size.to_bytes(8, 'big'))
        digest.update(f'{info.get("gt_label")}\n'.encode())
    for path in getattr(dataset, 'list_files', ()):
        digest.update(hashlib.blake2b(Path(path).read_bytes()).digest())
    return digest.hexdigest()


def _sizes(info: Mapping) -> list[int]:
    """Sizes of the files of a sample."""
    if 'img_bytes' in info:
        # Of PackedImages, whose names need not lead to a file.
        return [len(info['img_bytes'])]
    paths = [split_frame(str(info.get(key, '')))[0] for key in ('img_path', 'seg_map_path')]
    # Images in memory are in the fingerprint, those at addresses have their names alone.
    return [os.stat(path).st_size for path in paths if os.path.isfile(path)]
