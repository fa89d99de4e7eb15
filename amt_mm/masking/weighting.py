"""Weighting: from the saliency of a crop to the weights of its ranking."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from amt_mm.checks import is_number
from amt_mm.errors import InputError

from .ranking import WEIGHT_FLOOR, usable_rows


@dataclass(frozen=True)
class Weighting:
    """How saliency becomes sampling weights; by default they are equal, as in the paper.

    Settings are applied in this order: ``by_rank`` and ``invert``, ``cap``, ``temperature``,
    ``uniform``. Unusable rows (see :func:`~amt_mm.masking.ranking.usable_rows`) are left unchanged,
    so that they stay recognisable.

    Args:
        by_rank: Replace values by their ranks within the crop, from 1 / N for the least attended
            token to 1, with ties sharing their mean rank. This removes the scale of a map, which
            differs between images and refreshes.
        invert: Favour the least attended: ``max + min - w``, or the ranks in reverse.
        cap: Quantile of the crop at which weights are capped, above 0 and below 1, so that a few
            attention sinks do not dominate the draw. A crop that is 0 up to that quantile becomes
            constant and is masked at random. Defaults to None: no cap.
        temperature: Raise weights to ``1 / temperature``: above 1 they become softer, uniform in
            the limit; below 1 sharper. For this limit, weights below 1e-6 of the largest are raised
            to that. Defaults to 1.
        uniform: Share u of uniform weights: ``(1 - u) w / mean(w) + u``. The first token is drawn
            uniformly with probability u; 1 is random masking and throwing at the generator's
            ratios. Defaults to 0.

    Raises:
        InputError: A value is out of range.
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
        if self.cap is not None and not (is_number(self.cap) and 0 < self.cap < 1):
            raise InputError(f'weighting.cap={self.cap!r} must be a quantile above 0 and below 1, '
                             'or None')
        if not is_number(self.temperature) or not 0 < self.temperature < float('inf'):
            raise InputError(f'weighting.temperature={self.temperature!r} must be a number above 0')
        if not is_number(self.uniform) or not 0 <= self.uniform <= 1:
            raise InputError(f'weighting.uniform={self.uniform!r} must be a number from 0 to 1')

    @classmethod
    def from_config(cls, cfg: Weighting | dict | None) -> Weighting:
        """Build a weighting from a dict of its arguments; None is the default one.

        Raises:
            InputError: An unknown setting, or a value out of range.
        """
        if cfg is None or isinstance(cfg, cls):
            return cfg or cls()
        if not isinstance(cfg, dict):
            raise InputError(f'weighting={cfg!r} must be a dict of settings')
        unknown = sorted(set(cfg) - set(cls.__dataclass_fields__))
        if unknown:
            raise InputError(f'weighting.{unknown[0]} is unknown; use one of '
                             f'{", ".join(cls.__dataclass_fields__)}')
        return cls(**cfg)

    def __call__(self, saliency: Tensor) -> Tensor:
        """Compute weights.

        Args:
            saliency: Non-negative, ``(B, N)``.

        Returns:
            ``(B, N)``: ``saliency`` itself with default settings, otherwise fp32 of another scale.
        """
        if self == Weighting():
            return saliency
        given = saliency.float()
        # Normalised, because the sum of large numbers would overflow.
        weights = given / given.amax(dim=1, keepdim=True)
        if self.by_rank:
            weights = mean_ranks(-given if self.invert else given) / given.shape[1]
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


def mean_ranks(values: Tensor) -> Tensor:
    """Rank the values of each row from 1, with ties sharing their mean rank, ``(B, N)`` fp32."""
    rows = values.sort(dim=1).values
    values = values.contiguous()
    below = torch.searchsorted(rows, values)
    upto = torch.searchsorted(rows, values, right=True)
    return (below + upto + 1) / 2
