"""Time and rank agreement of maps for options of the refresh."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from mmengine.dataset import default_collate
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm import tqdm

from amt_mm.guidance.refresh import Refresh
from amt_mm.saliency import rank_correlation, resample


@dataclass(frozen=True)
class Option:
    """One way to refresh.

    Attributes:
        name: In the table.
        settings: How whole images are processed.
        parts: As of :class:`~amt_mm.guidance.SaliencyUpdateHook`.
    """

    name: str
    settings: Refresh
    parts: int = 1


def options(size: tuple[int, int], patch_size: int, heights: Sequence[int] | None,
            parts: Sequence[int]) -> list[Option]:
    """List the full refresh, then each option alone, then smaller images in bf16.

    Args:
        size: Height and width of the crops.
        patch_size: Side of a patch.
        heights: Heights of smaller images; widths follow in proportion, both in whole patches.
            Defaults to None: 5/7 and 4/7 of the crops', 160 and 128 of 224.
        parts: Numbers of parts.
    """
    wanted = [size[0] * 5 / 7, size[0] * 4 / 7] if heights is None else heights
    smaller = []
    for height in wanted:
        shape = tuple(max(1, round(side * height / size[0] / patch_size)) * patch_size
                      for side in size)
        if shape not in smaller:
            smaller.append(shape)
    full = Refresh(precision='fp32')
    looks = {'full': full, 'bf16': replace(full, precision='bf16')}
    for precision in ('fp32', 'bf16'):
        for shape in smaller:
            name = f'{shape[0]}x{shape[1]} pixels' + (', bf16' if precision == 'bf16' else '')
            looks[name] = Refresh(image_size=shape, precision=precision)
    return [*(Option(name, look) for name, look in looks.items()),
            *(Option(f'parts={number}', full, number) for number in parts)]


def evenly(dataset: Dataset, count: int) -> list[int]:
    """Indices of ``count`` evenly spaced samples."""
    return np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int).tolist()


def maps_of(model: nn.Module, dataset: Dataset, chosen: Sequence[int], settings: Refresh,
            batch_size: int) -> Tensor:
    """Maps of some samples of a training set, ``(n, h, w)`` fp32 on the CPU."""
    view, grid = settings.view(dataset), settings.grid(model.backbone)
    maps = []
    for start in tqdm(range(0, len(chosen), batch_size), desc=f'maps {grid[0]}x{grid[1]}',
                      leave=False, disable=None):
        batch = default_collate([view[i] for i in chosen[start:start + batch_size]])
        maps.append(settings.of_batch(model, batch).cpu())
    return torch.cat(maps).unflatten(1, grid)


def of_different_age(maps: Sequence[Tensor], chosen: Sequence[int], parts: int) -> Tensor | None:
    """Maps that a rotation of parts holds right after a refresh.

    The part renewed last is current, the one before is one refresh old, and so on.

    Args:
        maps: Full maps of now, of one refresh ago, and so on, ``(n, h, w)`` each.
        chosen: Samples that they are of.
        parts: Number of parts.

    Returns:
        ``(n, h, w)``, None if ``maps`` do not reach back far enough.
    """
    if parts > len(maps):
        return None
    ages = [-index % parts for index in chosen]
    return torch.stack([maps[age][row] for row, age in enumerate(ages)])


def agreement(maps: Tensor, full: Tensor) -> Tensor:
    """Rank correlation of each map with that of the full refresh, on the latter's grid.

    Args:
        maps: ``(n, h', w')``.
        full: ``(n, h, w)``.

    Returns:
        ``(n,)``, without images of which one map is flat.
    """
    found = rank_correlation(on_grid(maps, tuple(full.shape[1:])), full)
    return found[~found.isnan()]


def on_grid(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Resample maps to another grid, as crops do.

    Args:
        maps: ``(n, h', w')``.
        grid: Rows and columns ``(h, w)``.

    Returns:
        ``(n, h, w)``; the maps themselves if that is their grid.
    """
    if tuple(maps.shape[1:]) == grid:
        return maps
    whole = torch.tensor([[0., 0., 1., 1.]]).expand(len(maps), -1)
    return resample(maps, whole, grid).unflatten(1, grid)


def training_step(model: nn.Module, images: Tensor, guided: bool, bf16: bool) -> None:
    """Normalisation, plan, forward and backward pass of one training step.

    Args:
        model: A host, on its device.
        images: ``(B, 3, H, W)`` uint8.
        guided: With artificial saliency, as at the end of the guided phase.
        bf16: Under autocast to bfloat16.
    """
    preprocessor, grid = model.data_preprocessor, tuple(model.backbone.grid)
    inputs = preprocessor.normalize(images)
    weights = torch.rand(len(images), grid[0] * grid[1], device=inputs.device) if guided else None
    generator = preprocessor.mask_generator
    generator.finish()
    plan = generator(len(images), grid, weights, inputs.device)
    with torch.autocast(inputs.device.type, torch.bfloat16, enabled=bf16):
        loss, _ = model.parse_losses(model.loss(inputs, None, plan))
    loss.backward()
    model.zero_grad(set_to_none=True)


def take_turns(tasks: Mapping[str, Callable[[], None]], rounds: int, device: torch.device,
               warm_up: int = 1) -> dict[str, np.ndarray]:
    """Time several tasks in turn, so that noise affects all alike.

    On a CPU, processor time of this process, which other processes hardly change; on a GPU, wall
    time with synchronisation.

    Args:
        tasks: Name -> what to do.
        rounds: Measured rounds.
        device: Synchronised before and after each task.
        warm_up: Unmeasured rounds before.

    Returns:
        Name -> seconds, ``(rounds,)``.
    """
    times = {name: [] for name in tasks}
    clock = time.process_time if device.type == 'cpu' else time.perf_counter
    for _ in tqdm(range(warm_up + rounds), desc='rounds', disable=None):
        for name, task in tasks.items():
            _wait(device)
            start = clock()
            task()
            _wait(device)
            times[name].append(clock() - start)
    return {name: np.array(each[warm_up:]) for name, each in times.items()}


def _wait(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
