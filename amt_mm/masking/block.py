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
        if min_block < 1:
            raise InputError(f'min_block={min_block} must be at least 1 token')
        self.min_block = min_block

    def random_plan(self, batch_size: int, units: tuple[int, int], device: torch.device | str,
                    generator: torch.Generator | None) -> MaskPlan:
        """Lay blocks, then mask in the order in which they cover the grid."""
        num_units = units[0] * units[1]
        num_masked, num_thrown = split_counts(num_units, self.mask_ratio, self.throw_ratio,
                                              self.rounding)
        first = self._first_cover(batch_size, units, num_masked, device, generator)  # (B, N)
        raster = torch.arange(num_units, device=device)
        # Blocks are cut from below in half of the samples, from above in the others.
        upwards = torch.rand(batch_size, 1, device=device, generator=generator) < 0.5
        within = torch.where(upwards, num_units - 1 - raster, raster).float()
        chance = torch.rand(batch_size, num_units, device=device, generator=generator)
        within = torch.where(first == _NUM_BLOCKS, chance * num_units, within)
        order = (first * num_units + within).argsort(dim=1)
        return MaskPlan.from_order(order, num_masked, num_thrown, units)

    def _first_cover(self, batch_size: int, units: tuple[int, int], num_masked: int,
                     device: torch.device | str, generator: torch.Generator | None) -> Tensor:
        """Number of the first block on each cell, ``_NUM_BLOCKS`` where there is none, (B, N)."""
        size, shape, down, across = torch.rand(4, batch_size, _NUM_BLOCKS, device=device,
                                               generator=generator)
        smallest = min(max(self.min_block // self.unit**2, 1), num_masked)
        area = smallest + (num_masked - smallest) * size
        aspect = torch.exp((2 * shape - 1) * math.log(_LOWEST_ASPECT))
        height, width = (area * aspect).sqrt(), (area / aspect).sqrt()
        rows = self._inside(height, down, units[0])  # (B, blocks, h)
        columns = self._inside(width, across, units[1])  # (B, blocks, w)
        covered = rows[..., :, None] & columns[..., None, :]  # (B, blocks, h, w)
        # A byte a number: this is the largest array here, 32 times the grid.
        number = torch.arange(_NUM_BLOCKS, dtype=torch.uint8, device=device)[:, None, None]
        first = torch.where(covered, number, _NUM_BLOCKS).amin(dim=1)
        return first.long().flatten(1)

    @staticmethod
    def _inside(length: Tensor, place: Tensor, cells: int) -> Tensor:
        """Which cells of an axis each block covers, ``(B, blocks, cells)`` bool."""
        length = length.round().clamp(1, cells)
        start = (place * (cells - length + 1)).floor()
        cell = torch.arange(cells, device=length.device)
        return (cell >= start[..., None]) & (cell < (start + length)[..., None])
