"""Weighting: from the saliency of a crop to the weights that its ranking is drawn by."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from amt_mm.errors import InputError

from .ranking import WEIGHT_FLOOR, usable_rows


@dataclass(frozen=True)
class Weighting:
    """How saliency becomes sampling weights; the defaults change nothing, as in the paper.

    What is set is applied in this order: ``by_rank`` and ``invert``, ``cap``,
    ``temperature``, ``uniform``. Rows that cannot guide (see
    :func:`~amt_mm.masking.ranking.usable_rows`) stay as they are, and so can still be told.

    Args:
        by_rank: Weights are the ranks of the tokens within their crop, from 1 / N for
            the least attended to 1; equal ones share their mean rank. Then the scale of
            a map, which differs between images and refreshes, has no say.
        invert: Low-attended first: ``max + min - w``, or the ranks from the other end.
        cap: Quantile of the crop at which weights are cut, above 0 and below 1, so that
            a few sinks of attention do not draw alone. A crop with nothing but zeros up to
            that quantile becomes flat, and is planned by chance. Defaults to None: no cut.
        temperature: Weights are raised to ``1 / temperature``: above 1 they are softer,
            and even in the limit; below 1 harder. So that this limit holds, weights
            below 1e-6 of the largest count as that. Defaults to 1.
        uniform: Share u of even weights: ``(1 - u) w / mean(w) + u``. The first token is
            drawn by chance with probability u. 1 is random masking and throwing at the
            generator's ratios. Defaults to 0.

    Raises:
        InputError: A value out of range.
    """

    by_rank: bool = False
    invert: bool = False
    cap: float | None = None
    temperature: float = 1.0
    uniform: float = 0.0

    def __post_init__(self) -> None:
        for name in ('by_rank', 'invert'):
            if type(getattr(self, name)) is not bool:
                raise InputError(f'weighting.{name}={getattr(self, name)!r} must be True or False')
        if self.cap is not None and not (_is_number(self.cap) and 0 < self.cap < 1):
            raise InputError(f'weighting.cap={self.cap!r} must be a quantile above 0 and below 1, '
                             'or None')
        if not _is_number(self.temperature) or not 0 < self.temperature < float('inf'):
            raise InputError(f'weighting.temperature={self.temperature!r} must be a number above 0')
        if not _is_number(self.uniform) or not 0 <= self.uniform <= 1:
            raise InputError(f'weighting.uniform={self.uniform!r} must be a share from 0 to 1')

    @classmethod
    def of(cls, given: Weighting | dict | None) -> Weighting:
        """A weighting from what a config says; None is the default one.

        Raises:
            InputError: A setting that there is not, or a value out of range.
        """
        if given is None or isinstance(given, cls):
            return given or cls()
        if not isinstance(given, dict):
            raise InputError(f'weighting={given!r} must be a dict of settings')
        unknown = sorted(set(given) - set(cls.__dataclass_fields__))
        if unknown:
            raise InputError(f'weighting.{unknown[0]} is unknown: use '
                             f'{", ".join(cls.__dataclass_fields__)}')
        return cls(**given)

    def __call__(self, saliency: Tensor) -> Tensor:
        """Weights to draw by.

        Args:
            saliency: Non-negative, ``(B, N)``.

        Returns:
            ``(B, N)``; fp32, of another scale, if anything is to be done, else ``saliency``
            itself.
        """
        if self == Weighting():
            return saliency
        given = saliency.float()
        # Sums of the largest numbers would overflow.
        weights = given / given.amax(dim=1, keepdim=True)
        if self.by_rank:
            weights = _mean_ranks(-given if self.invert else given) / given.shape[1]
        elif self.invert:
            weights = 1 + weights.amin(dim=1, keepdim=True) - weights
        if self.cap is not None:
            weights = weights.minimum(weights.quantile(self.cap, dim=1, keepdim=True))
        if self.temperature != 1:
            weights = weights / weights.amax(dim=1, keepdim=True)
            weights = weights.clamp_min(WEIGHT_FLOOR) ** (1 / self.temperature)
        if self.uniform:
            mean = weights.mean(dim=1, keepdim=True)
            weights = (1 - self.uniform) * weights / mean + self.uniform
        return torch.where(usable_rows(given).unsqueeze(1), weights, given)


def _mean_ranks(values: Tensor) -> Tensor:
    """Rank of each value in its row, from 1, equal ones sharing their mean, ``(B, N)`` fp32."""
    rows = values.sort(dim=1).values
    values = values.contiguous()
    below = torch.searchsorted(rows, values)
    upto = torch.searchsorted(rows, values, right=True)
    return (below + upto + 1) / 2


def _is_number(value: object) -> bool:
    return type(value) in (int, float)
