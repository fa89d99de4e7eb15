"""Block-wise masking: rectangles, one on another."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from amt_mm.errors import InputError

from .generators import RandomMaskGenerator
from .plan import MaskPlan
from .ratios import split_counts

# Blocks drawn for each sample.
_NUM_BLOCKS = 32
# Height to width of a block, from .3 to 1 / .3 (BEiT, Algorithm 1).
_LOWEST_ASPECT = 0.3


class BlockMaskGenerator(RandomMaskGenerator):
    """Block-wise masking (BEiT, Bao et al., ICLR 2022, sec. 2.3 and Algorithm 1).

    Rectangles of random area and shape are laid anywhere on the grid, one after
    another, until the masked tokens are enough. BEiT lays another one where a block
    would be too much, and may end with fewer tokens than wanted. Here the block
    that overshoots is cut, row by row from one end, and the number is exact. A
    block larger than the grid is cut to it. What 32 blocks leave short, as ratios
    near 1 do, is filled up at random. No weights are used.

    Thrown are the tokens that further blocks would mask.

    Args:
        mask_ratio: Share of masked tokens. Defaults to .75, MAE's, for comparison
            at one ratio; BEiT's is .40 and MAE's ablation also has .50.
        throw_ratio: Share of thrown tokens. Defaults to 0.
        min_block: Smallest area of a block, in tokens. Defaults to BEiT's 16. The
            largest is the number of masked tokens.
        **kwargs: ``unit`` and ``rounding``, see
            :class:`~amt_mm.masking.generators.MaskGenerator`.

    Raises:
        InputError: ``min_block`` below 1, or ratios that no plan can have.
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
        """Lay blocks, then mask in the order in which they cover the grid."""
        counts = split_counts(units[0] * units[1], self.mask_ratio, self.throw_ratio,
                              self.rounding)
        smallest = max(self.min_block // self.unit**2, 1)
        largest = torch.full((batch_size,), counts[0])
        order = rank_by_blocks(largest, units, smallest, device, generator)
        return MaskPlan.from_order(order, *counts, units)


def rank_by_blocks(largest: Tensor, grid: tuple[int, int], smallest: int = 16,
                   device: torch.device | str = 'cpu',
                   generator: torch.Generator | None = None) -> Tensor:
    """Order tokens as blocks, laid one after another, cover them; the rest at random.

    Args:
        largest: Largest area of a block of each sample, in tokens: as many as shall
            be masked, ``(B,)`` int64 on the CPU.
        grid: Rows and columns.
        smallest: Smallest area of a block, in tokens.
        device: Where the order is made.
        generator: Source of chance. Defaults to torch's own of the device.

    Returns:
        ``(B, N)`` int64.
    """
    batch_size, num_tokens = len(largest), grid[0] * grid[1]
    first = _first_cover(largest, grid, smallest, device, generator)  # (B, N)
    raster = torch.arange(num_tokens, device=device)
    # Blocks are cut from below in half of the samples, from above in the others.
    upwards = torch.rand(batch_size, 1, device=device, generator=generator) < 0.5
    within = torch.where(upwards, num_tokens - 1 - raster, raster).float()
    chance = torch.rand(batch_size, num_tokens, device=device, generator=generator)
    within = torch.where(first == _NUM_BLOCKS, chance * num_tokens, within)
    return (first * num_tokens + within).argsort(dim=1)


def _first_cover(largest: Tensor, grid: tuple[int, int], smallest: int,
                 device: torch.device | str, generator: torch.Generator | None) -> Tensor:
    """Number of the first block on each cell, ``_NUM_BLOCKS`` where there is none, (B, N)."""
    size, shape, down, across = torch.rand(4, len(largest), _NUM_BLOCKS, device=device,
                                           generator=generator)
    most = largest.clamp_min(1)[:, None].to(device, non_blocking=True)  # (B, 1)
    least = most.clamp_max(smallest)
    area = least + (most - least) * size
    aspect = torch.exp((2 * shape - 1) * math.log(_LOWEST_ASPECT))
    height, width = (area * aspect).sqrt(), (area / aspect).sqrt()
    rows = _inside(height, down, grid[0])  # (B, blocks, h)
    columns = _inside(width, across, grid[1])  # (B, blocks, w)
    covered = rows[..., :, None] & columns[..., None, :]  # (B, blocks, h, w)
    # A byte a number: this is the largest array here, 32 times the grid.
    number = torch.arange(_NUM_BLOCKS, dtype=torch.uint8, device=device)[:, None, None]
    first = torch.where(covered, number, _NUM_BLOCKS).amin(dim=1)
    return first.long().flatten(1)


def _inside(length: Tensor, place: Tensor, cells: int) -> Tensor:
    """Which cells of an axis each block covers, ``(B, blocks, cells)`` bool."""
    length = length.round().clamp(1, cells)
    start = (place * (cells - length + 1)).floor()
    cell = torch.arange(cells, device=length.device)
    return (cell >= start[..., None]) & (cell < (start + length)[..., None])
