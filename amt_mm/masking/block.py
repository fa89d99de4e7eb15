"""Block-wise masking: overlapping rectangles."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from amt_mm.errors import InputError

from .generators import RandomMaskGenerator
from .plan import MaskPlan

# Blocks drawn for each sample.
_NUM_BLOCKS = 32
# Height to width of a block, from .3 to 1 / .3 (BEiT, Algorithm 1).
_LOWEST_ASPECT = 0.3


class BlockMaskGenerator(RandomMaskGenerator):
    """Block-wise masking (BEiT, Bao et al., ICLR 2022, sec. 2.3 and Algorithm 1).

    Rectangles of random area, shape and place are added until enough tokens are masked. BEiT
    redraws a block that would exceed the number and may end with fewer tokens; here that block is
    cut, row by row from one end, so that the number is exact. Blocks larger than the grid are cut
    to it. If 32 blocks do not suffice, as at ratios near 1, the rest is masked at random. Tokens
    that further blocks would mask are thrown. No weights are used.

    Args:
        mask_ratio: Share of masked tokens. Defaults to .75, as in MAE, for comparison at one ratio;
            BEiT uses .40, MAE's ablation also .50.
        throw_ratio: Share of thrown tokens. Defaults to 0.
        min_block: Smallest area of a block, in tokens. Defaults to 16, as in BEiT. The largest area
            is the number of masked tokens.
        **kwargs: ``unit`` and ``rounding``, see
            :class:`~amt_mm.masking.generators.MaskGenerator`.

    Raises:
        InputError: ``min_block`` is below 1, or the ratios are impossible.
    """

    def __init__(self, mask_ratio: float = 0.75, throw_ratio: float = 0.0, min_block: int = 16,
                 **kwargs) -> None:
        super().__init__(mask_ratio, throw_ratio, **kwargs)
        if type(min_block) is not int or min_block < 1:
            raise InputError(f'min_block={min_block!r} must be a whole number of tokens, at least '
                             '1')
        self.min_block = min_block

    def random_plan(self, batch_size: int, units: tuple[int, int], device: torch.device | str,
                    generator: torch.Generator | None) -> MaskPlan:
        """Rank tokens in the order in which blocks cover them, then cut."""
        smallest = max(self.min_block // self.unit**2, 1)
        largest = torch.full((batch_size,), self.counts(units)[0])
        return self.cut(rank_by_blocks(largest, units, smallest, device, generator), units)


def rank_by_blocks(largest: Tensor, grid: tuple[int, int], smallest: int = 16,
                   device: torch.device | str = 'cpu',
                   generator: torch.Generator | None = None) -> Tensor:
    """Rank tokens in the order in which successive blocks cover them, the rest at random.

    Args:
        largest: Largest area of a block of each sample, in tokens, which is the number of tokens to
            mask, ``(B,)`` int64 on the CPU.
        grid: Rows and columns.
        smallest: Smallest area of a block, in tokens.
        device: Device of the result.
        generator: Random generator. Defaults to the device's default one.

    Returns:
        ``(B, N)`` int64.
    """
    batch_size, num_tokens = len(largest), grid[0] * grid[1]
    first = _first_block(largest, grid, smallest, device, generator)  # (B, N)
    raster = torch.arange(num_tokens, device=device)
    # Blocks are cut from below in half of the samples, from above in the others.
    upwards = torch.rand(batch_size, 1, device=device, generator=generator) < 0.5
    within = torch.where(upwards, num_tokens - 1 - raster, raster).float()
    noise = torch.rand(batch_size, num_tokens, device=device, generator=generator)
    within = torch.where(first == _NUM_BLOCKS, noise * num_tokens, within)
    return (first * num_tokens + within).argsort(dim=1)


def _first_block(largest: Tensor, grid: tuple[int, int], smallest: int,
                 device: torch.device | str, generator: torch.Generator | None) -> Tensor:
    """Index of the first block on each cell, ``_NUM_BLOCKS`` where there is none, ``(B, N)``."""
    size, shape, down, across = torch.rand(4, len(largest), _NUM_BLOCKS, device=device,
                                           generator=generator)
    most = largest.clamp_min(1)[:, None].to(device, non_blocking=True)  # (B, 1)
    least = most.clamp_max(smallest)
    area = least + (most - least) * size
    aspect = torch.exp((2 * shape - 1) * math.log(_LOWEST_ASPECT))
    height, width = (area * aspect).sqrt(), (area / aspect).sqrt()
    rows = _covered_cells(height, down, grid[0])  # (B, blocks, h)
    columns = _covered_cells(width, across, grid[1])  # (B, blocks, w)
    covered = rows[..., :, None] & columns[..., None, :]  # (B, blocks, h, w)
    # One byte per element: this is the largest array here, 32 times the grid.
    index = torch.arange(_NUM_BLOCKS, dtype=torch.uint8, device=device)[:, None, None]
    first = torch.where(covered, index, _NUM_BLOCKS).amin(dim=1)
    return first.long().flatten(1)


def _covered_cells(length: Tensor, place: Tensor, cells: int) -> Tensor:
    """Which cells of an axis each block covers, ``(B, blocks, cells)`` bool."""
    length = length.round().clamp(1, cells)
    start = (place * (cells - length + 1)).floor()
    cell = torch.arange(cells, device=length.device)
    return (cell >= start[..., None]) & (cell < (start + length)[..., None])
