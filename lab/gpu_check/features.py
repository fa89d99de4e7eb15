"""The refresh of saliency and k-NN on the device."""

from __future__ import annotations

import time
from pathlib import Path

import torch
from torch import Tensor

from amt_mm.apis.comparison import resolved
from amt_mm.apis.judging import build_model
from amt_mm.evaluation.knn import knn_rank
from amt_mm.guidance.refresh import Refresh

from .check import Failed

REFRESHED = 50_000
_COMPARED = 32


def measure_refresh(config: str | Path, images: int, batch_size: int) -> dict:
    """Time maps of artificial whole images in bf16, without reading them; cells of the table.

    Args:
        config: Of a host with maps.
        images: To be timed; the time is scaled to :data:`REFRESHED`.
        batch_size: Of a forward pass.
    """
    model = build_model(resolved(str(config)))
    size = [side * model.backbone.patch_size for side in model.backbone.grid]
    batch = {'inputs': torch.randint(256, (batch_size, 3, *size), dtype=torch.uint8)}
    settings, times = Refresh(precision='bf16'), []
    model.eval()
    for _ in range(1 + -(-images // batch_size)):
        start = time.perf_counter()
        settings.of_batch(model, batch).cpu()  # waits for the device
        times.append(time.perf_counter() - start)
    speed = batch_size * len(times[1:]) / sum(times[1:])
    return dict(batch=batch_size, images=speed,
                outcome=f'{REFRESHED:,} images in {REFRESHED / speed:.1f} s, without reading')


def measure_knn(train: int, test: int, width: int = 768, classes: int = 1000) -> dict:
    """Time k-NN on artificial features, and compare some of its results with the CPU's.

    Args:
        train: Number of training features.
        test: Number of features to classify.
        width: Of a feature.
        classes: Number of classes.

    Raises:
        Failed: The device ranks classes otherwise than the CPU.
    """
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    chance = torch.Generator().manual_seed(0)
    centres = torch.randn(classes, width, generator=chance)

    def features(count: int) -> tuple[Tensor, Tensor]:
        labels = torch.randint(classes, (count, ), generator=chance)
        return centres[labels] + 2 * torch.randn(count, width, generator=chance), labels

    known, labels = features(train)
    asked, _ = features(test)
    known_there, labels_there, asked_there = (each.to(device) for each in (known, labels, asked))
    knn_rank(known_there, labels_there, asked_there[:_COMPARED], (20, ), top=1)
    start = time.perf_counter()
    found = knn_rank(known_there, labels_there, asked_there, (20, ), top=1)[20].cpu()
    seconds = time.perf_counter() - start
    wanted = knn_rank(known, labels, asked[:_COMPARED], (20, ), top=1)[20]
    if not torch.equal(found[:_COMPARED], wanted):
        raise Failed('the classes are not those of the CPU')
    return dict(images=test / seconds, outcome=f'{test:,} among {train:,} in {seconds:.2f} s, '
                'classes as on the CPU')
