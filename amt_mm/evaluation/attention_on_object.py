"""How much of the attention falls on the object, given its mask."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import InputError


@dataclass(frozen=True)
class ObjectAttention:
    """Measures per image, each ``(B,)``.

    Attributes:
        share: Share of the attention on the object, 0 to 1.
        area: Share of the image that the object covers, which a uniform map would reach.
        ratio: share / area; 1 is no better than uniform. NaN without an object.
        auroc: Probability that a point of the object has more attention than a point of the
            background, ties counted half; .5 is no better than uniform. NaN without object or
            background.
        flat: Whether the map was all zero or not finite, and counted as uniform.
    """

    share: Tensor
    area: Tensor
    ratio: Tensor
    auroc: Tensor
    flat: Tensor

    def summary(self) -> dict[str, float]:
        """Return means over the images that show an object.

        ``ratio`` is mean share / mean area, which, unlike a mean of ratios, one tiny object cannot
        dominate. ``images`` counts the images, ``flat`` those whose map counted as uniform.
        """
        seen = self.area > 0
        share, area = self.share[seen].mean().item(), self.area[seen].mean().item()
        return {'share': share, 'area': area, 'ratio': share / area,
                'auroc': self.auroc[seen].nanmean().item(),
                'images': int(seen.sum()), 'flat': int(self.flat[seen].sum())}


def attention_on_object(maps: Tensor, masks: Tensor) -> ObjectAttention:
    """Measure how well attention maps and object masks agree.

    Each mask is averaged over the cells of the map exactly by area, so H need not be a multiple of
    h. A map that is all zero or not finite counts as uniform.

    Args:
        maps: ``(B, h, w)``, attention on the whole image, non-negative, of any scale.
        masks: ``(B, H, W)`` bool, true on the object, H >= h and W >= w.

    Returns:
        The measures, float64, on the device of the maps.

    Raises:
        InputError: Shapes or types disagree, or a map has negative values.
    """
    if maps.ndim != 3 or masks.ndim != 3 or len(maps) != len(masks) or maps.numel() == 0:
        raise InputError(f'maps {tuple(maps.shape)} and masks {tuple(masks.shape)} do not fit; '
                         'give (B, h, w) and (B, H, W)')
    if masks.dtype != torch.bool:
        raise InputError(f'masks have type {masks.dtype}; give bool, true on the object')
    if masks.shape[1] < maps.shape[1] or masks.shape[2] < maps.shape[2]:
        raise InputError(f'masks {tuple(masks.shape)} are coarser than maps {tuple(maps.shape)}; '
                         'give the masks at the size of the image')
    negative = (maps < 0).flatten(1).any(dim=1)
    if negative.any():
        first = int(negative.nonzero()[0])
        raise InputError(f'map {first} has negative values; attention is 0 or more')

    scores = maps.flatten(1).double()  # (B, N)
    scores = scores / scores.amax(dim=1, keepdim=True)
    flat = ~torch.isfinite(scores).all(dim=1)  # (B,); 0 / 0 is not finite either
    scores = torch.where(flat[:, None], torch.ones_like(scores), scores)
    density = scores / scores.sum(dim=1, keepdim=True)

    rows = _overlap(masks.shape[1], maps.shape[1]).to(scores)  # (h, H)
    columns = _overlap(masks.shape[2], maps.shape[2]).to(scores)  # (w, W)
    # Integers until the division: a cell that the object fills gets exactly 1.
    inside = (rows @ masks.to(scores) @ columns.T).flatten(1)  # (B, N)
    inside = inside / (masks.shape[1] * masks.shape[2])

    share = (density * inside).sum(dim=1)
    area = inside.mean(dim=1)
    ratio = torch.where(area > 0, share / area, torch.nan)
    return ObjectAttention(share, area, ratio, _auroc(scores, inside), flat)


def _overlap(fine: int, coarse: int) -> Tensor:
    """Return ``(coarse, fine)``: how much of each fine cell lies in each coarse cell.

    In units of 1 / (fine * coarse) of the length, in which all borders are integers.
    """
    low = torch.arange(fine) * coarse  # (fine,)
    start = (torch.arange(coarse) * fine)[:, None]  # (coarse, 1)
    common = torch.minimum(low + coarse, start + fine) - torch.maximum(low, start)
    return common.clamp(min=0)


def _auroc(scores: Tensor, inside: Tensor) -> Tensor:
    """Return ``(B,)``: how often an object point outranks a background point.

    Args:
        scores: ``(B, N)``, attention of each cell.
        inside: ``(B, N)``, share of each cell that is object; the rest is background.
    """
    ordered, order = scores.sort(dim=1)
    outside = 1 - inside
    below = outside.gather(1, order).cumsum(dim=1)
    below = torch.cat([torch.zeros_like(below[:, :1]), below], dim=1)  # (B, N + 1)
    lower = below.gather(1, torch.searchsorted(ordered, scores))
    lower_or_equal = below.gather(1, torch.searchsorted(ordered, scores, right=True))
    won = (inside * (lower + lower_or_equal) / 2).sum(dim=1)
    pairs = inside.sum(dim=1) * outside.sum(dim=1)
    return torch.where(pairs > 0, won / pairs, torch.nan)
