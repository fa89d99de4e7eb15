"""Batches of a config's own training pipeline from any folder of images, and random maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.registry import TRANSFORMS

from amt_mm.errors import InputError
from amt_mm.saliency import SaliencyStore, SaliencyWriter

# Enough to exceed the processor's caches: 26 MB at 14x14.
MAPS = 65536


def training_batches(cfg: Config, batch_size: int, folder: str | Path) -> tuple[Iterator, int]:
    """Yield collated batches without end, made in this process.

    Args:
        cfg: A resolved config; its pipeline, data set wrappers and collation are used, not its
            images.
        batch_size: Images per batch.
        folder: Folder of images.

    Returns:
        The iterator, and the number of images in the folder.

    Raises:
        InputError: A config without a training pipeline.
    """
    given = cfg.train_dataloader
    collate = dict(given.get('collate_fn') or dict(type='default_collate'))
    collate.pop('_scope_', None)
    loader = Runner.build_dataloader(dict(
        dataset=_of_folder(given.dataset, str(folder)), batch_size=batch_size, num_workers=0,
        sampler=dict(type='InfiniteSampler', shuffle=True), collate_fn=collate,
        pin_memory=torch.cuda.is_available()), seed=0)
    return iter(loader), len(loader.dataset)


def _of_folder(dataset: Mapping, folder: str) -> dict:
    """The data set's config with its innermost data set replaced by a folder of images."""
    if 'dataset' in dataset:
        return {**dataset, 'dataset': _of_folder(dataset['dataset'], folder)}
    if 'datasets' in dataset:
        return {**dataset, 'datasets': [_of_folder(dataset['datasets'][0], folder)]}
    if 'pipeline' not in dataset:
        raise InputError(f'the data set {dataset.get("type")} of the config has no pipeline')
    pipeline = list(dataset['pipeline'])
    if not any(issubclass(TRANSFORMS.get(step['type']), LoadImageFromFile) for step in pipeline):
        pipeline.insert(0, dict(type='amt_mm.LoadImage'))  # its data set holds images itself
    return dict(type='amt_mm.ImageFolder', data_root=folder, with_label=False, pipeline=pipeline)


def make_images(folder: Path, count: int = 16) -> Path:
    """Fill a folder with noise, for batches whose loading is not measured."""
    folder.mkdir()
    chance = np.random.default_rng(0)
    for i in range(count):
        cv2.imwrite(str(folder / f'{i}.png'), chance.integers(0, 256, (256, 256, 3), np.uint8))
    return folder


def make_maps(path: Path, count: int, grid: tuple[int, int]) -> SaliencyStore:
    """Write random maps to a real store, memory-mapped as in training."""
    writer = SaliencyWriter(path, count, grid, fingerprint='made-up')
    source = torch.Generator().manual_seed(0)
    for rows in torch.arange(count).split(8192):
        writer.write(rows, torch.rand(len(rows), grid[0] * grid[1], generator=source))
    return SaliencyStore(writer.commit())
