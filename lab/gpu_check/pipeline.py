"""Images a second that the input pipeline delivers, and that steps ask for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.runner import Runner

FAST = [dict(type='amt_mm.ReadImage'),
        dict(type='amt_mm.DecodeRandomResizedCrop', scale=224, crop_ratio_range=(0.2, 1.0),
             backend='pillow', interpolation='bicubic'),
        dict(type='RandomFlip', prob=0.5),
        dict(type='amt_mm.PackInputsWithBox')]


def measure_pipeline(folder: Path, workers: int, batch_size: int, seconds: float,
                     speeds: Mapping[tuple[str, str, str], float]) -> dict:
    """Count images that worker processes deliver; cells of the table.

    Args:
        folder: JPEGs of the size of ImageNet's.
        workers: Processes that read.
        batch_size: Images a batch.
        seconds: How long to count.
        speeds: Of steps; the fastest must be fed.
    """
    loader = Runner.build_dataloader(dict(
        dataset=dict(type='amt_mm.StagedDataset', dataset=dict(
            type='amt_mm.ImageFolder', data_root=str(folder), with_label=False, pipeline=FAST)),
        batch_size=batch_size, num_workers=workers, persistent_workers=workers > 0,
        sampler=dict(type='InfiniteSampler', shuffle=True),
        collate_fn=dict(type='default_collate'), pin_memory=torch.cuda.is_available()), seed=0)
    batches = iter(loader)
    for _ in range(workers + 1):  # each has begun
        next(batches)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        count += len(next(batches)['inputs'])
    delivered = count / (time.perf_counter() - start)
    outcome = f'{workers} workers deliver {delivered:,.0f} images/s'
    if speeds:
        key = max(speeds, key=speeds.get)
        outcome += f', the fastest step ({", ".join(key)}) takes {speeds[key]:,.0f}'
    return dict(images=delivered, batch=batch_size, outcome=outcome)
