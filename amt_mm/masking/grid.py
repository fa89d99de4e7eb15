"""Grid-wise masking: one token of each square stays visible."""

from __future__ import annotations

import torch

from amt_mm.errors import InputError

from .generators import RandomMaskGenerator
from .plan import MaskPlan


class GridMaskGenerator(RandomMaskGenerator):
    """Grid-wise masking (MAE, He et al., CVPR 2022, sec. 4.1, Table 1f and Fig. 6).

    One token of each square of p x p stays visible, on a regular lattice: one of four at MAE's
    .75. The lattice is shifted at random for each sample, so that every position is seen at times.
    No weights are used.

    Where p does not divide the grid, shifted lattices differ in size by some tokens. Then further
    tokens stay visible at random, or some of the lattice are masked at random, so that the counts
    are those of any other generator at these ratios. Thrown tokens are chosen at random off the
    lattice.

    Args:
        mask_ratio: Share of masked tokens. Defaults to .75, which is p = 2.
        throw_ratio: Share of thrown tokens. Defaults to 0.
        **kwargs: ``unit`` and ``rounding``, see
            :class:`~amt_mm.masking.generators.MaskGenerator`.

    Raises:
        InputError: The visible share is not ``1 / p**2``, to half a percent, for any p.
    """

    def __init__(self, mask_ratio: float = 0.75, throw_ratio: float = 0.0, **kwargs) -> None:
        super().__init__(mask_ratio, throw_ratio, **kwargs)
        visible = 1 - mask_ratio - throw_ratio
        self.period = round(visible**-0.5)
        if self.period < 2 or abs(visible - self.period**-2) > 0.005:
            raise InputError(f'mask_ratio={mask_ratio} and throw_ratio={throw_ratio} leave '
                             f'{visible:.3f} visible, which is not a square grid: together they '
                             'must be .75 (one of 2x2), .889 (one of 3x3) or .9375 (one of 4x4)')

    def random_plan(self, batch_size: int, units: tuple[int, int], device: torch.device | str,
                    generator: torch.Generator | None) -> MaskPlan:
        """Rank tokens off the lattice first, tokens on it last, then cut."""
        rows, columns = units
        shift = torch.randint(self.period, (2, batch_size, 1), device=device, generator=generator)
        down = (torch.arange(rows, device=device) + shift[0]) % self.period == 0  # (B, h)
        across = (torch.arange(columns, device=device) + shift[1]) % self.period == 0  # (B, w)
        lattice = (down[:, :, None] & across[:, None, :]).flatten(1)  # (B, h * w)
        noise = torch.rand(batch_size, rows * columns, device=device, generator=generator)
        return self.cut((noise + lattice).argsort(dim=1), units)
