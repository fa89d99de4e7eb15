"""LossMap: maps of the training loss of each part of each image."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from amt_mm.errors import InputError

from .store import SaliencyStore
from .writer import SaliencyWriter

# Hardness of a loss equal to the mean one: the initial value.
_AVERAGE = 0.5


class LossMap:
    """One map of hardness per sample, on the grid of the whole image.

    After HPM (Wang et al., CVPR 2023), which masks patches that are hard to predict. HPM trains a
    second decoder to predict each patch's loss; here hardness is an exponential moving average of
    ``loss / (loss + mean loss of the batch)``: from 0 to 1, .5 for an average loss. Being relative,
    it does not depend on the decrease of all losses during training.

    Has the interface of :class:`~amt_mm.saliency.store.SaliencyStore`. Values are in half
    precision, in the file as in memory, so that a resumed run continues with identical numbers: 502
    MB per process for ImageNet-1K at 14x14.

    Args:
        num_samples: Number of maps.
        grid: Rows and columns of each map.
        momentum: Share of the old value that a fully masked cell keeps in an update. Defaults to
            .9: an average over about the last ten times that the cell was masked.

    Attributes:
        step: Number of updates so far.

    Raises:
        InputError: ``momentum`` is out of range.
    """

    def __init__(self, num_samples: int, grid: tuple[int, int], momentum: float = 0.9) -> None:
        if not 0 <= momentum < 1:
            raise InputError(f'momentum={momentum} must be at least 0 and less than 1')
        self.grid = tuple(grid)
        self.momentum = momentum
        self.step = 0
        self._maps = torch.full((num_samples, *self.grid), _AVERAGE, dtype=torch.float16)

    def lookup(self, sample_idx: Tensor) -> Tensor:
        """Look up the maps of some samples.

        Args:
            sample_idx: ``(B,)`` int64 on the CPU.

        Returns:
            ``(B, h, w)`` fp32 on the CPU, in [0, 1]; constant for samples never updated.

        Raises:
            InputError: An index outside the data set.
        """
        self._check(sample_idx)
        return self._maps[sample_idx].float()

    def update(self, sample_idx: Tensor, boxes: Tensor, crop_grid: tuple[int, int], ids: Tensor,
               losses: Tensor) -> None:
        """Update the maps with the losses of a batch of crops.

        A cell of which masked patches cover the share c moves by ``(1 - momentum) * c`` of the
        difference towards the mean hardness of these patches. Losses that are not finite are
        ignored. For several crops of a sample in the same batch, shares are added, and the cell
        moves at most all the way.

        Args:
            sample_idx: ``(B,)`` int64.
            boxes: Crop in relative coordinates ``(x0, y0, x1, y1)``, with reversed axes where
                flipped, ``(B, 4)``.
            crop_grid: Rows and columns of the crop's patches.
            ids: Patches whose loss is known, ``(B, n)`` int64.
            losses: Their losses, ``(B, n)``, not negative.

        Raises:
            InputError: An index outside the data set, or a negative loss.
        """
        self._check(sample_idx)
        if (losses < 0).any():
            raise InputError(f'the loss of a token is {float(losses.min()):.3g}; maps of losses '
                             'need losses of at least 0')
        known = losses.isfinite()
        losses = torch.where(known, losses, torch.zeros_like(losses)).float()
        mean = losses.sum() / known.sum().clamp_min(1)
        hardness = losses / (losses + mean).clamp_min(torch.finfo(torch.float32).tiny)
        on_crop = torch.zeros(2, len(ids), crop_grid[0] * crop_grid[1])
        on_crop[0].scatter_(1, ids, known.float())
        on_crop[1].scatter_(1, ids, hardness)
        down = _overlaps(boxes[:, 1], boxes[:, 3], crop_grid[0], self.grid[0])  # (B, rows, h)
        across = _overlaps(boxes[:, 0], boxes[:, 2], crop_grid[1], self.grid[1])  # (B, columns, w)
        share, total = down.transpose(1, 2) @ on_crop.unflatten(2, crop_grid) @ across  # (B, h, w)
        samples, place = sample_idx.unique(return_inverse=True)
        old = self._maps[samples].float()
        share, total = (torch.zeros_like(old).index_add_(0, place, each) for each in (share, total))
        # Of several crops, at most all the way to their mean.
        steps = share.reciprocal().clamp_max(1 - self.momentum)
        self._maps[samples] = (old + steps * (total - share * old)).clamp(0, 1).half()
        self.step += 1

    def save(self, path: str | os.PathLike, fingerprint: str) -> SaliencyStore:
        """Write the maps to a file and open it.

        Args:
            path: The file to write.
            fingerprint: Identity of the data set.
        """
        writer = SaliencyWriter(path, len(self._maps), self.grid, fingerprint, self.step)
        writer.write(torch.arange(len(self._maps)), self._maps)
        return SaliencyStore(writer.commit(), fingerprint, share=None)

    def load(self, store: SaliencyStore) -> None:
        """Continue from the maps of a file.

        Raises:
            InputError: Another number of maps or another grid.
        """
        if (store.num_samples, *store.grid) != tuple(self._maps.shape):
            raise InputError(f'{store.path}: {store.num_samples} maps of {store.grid[0]}x'
                             f'{store.grid[1]} cells, this run has {len(self._maps)} of '
                             f'{self.grid[0]}x{self.grid[1]}')
        for start in range(0, len(self._maps), 16384):
            rows = torch.arange(start, min(start + 16384, len(self._maps)))
            self._maps[rows] = store.lookup(rows).half()
        self.step = store.step

    def _check(self, sample_idx: Tensor) -> None:
        low, high = sample_idx.aminmax()
        if low < 0 or high >= len(self._maps):
            raise InputError(f'sample_idx {int(low)}..{int(high)} lies outside the '
                             f'{len(self._maps)} maps of losses')


def _overlaps(start: Tensor, stop: Tensor, parts: int, cells: int) -> Tensor:
    """Share of each cell that lies in each of ``parts`` equal intervals, ``(B, parts, cells)``."""
    steps = torch.linspace(0, 1, parts + 1)
    edges = (start[:, None] + (stop - start)[:, None] * steps) * cells  # (B, parts + 1)
    low = torch.minimum(edges[:, :-1], edges[:, 1:])[:, :, None]
    high = torch.maximum(edges[:, :-1], edges[:, 1:])[:, :, None]
    cell = torch.arange(cells)
    return (torch.minimum(high, cell + 1) - torch.maximum(low, cell)).clamp_min(0)
