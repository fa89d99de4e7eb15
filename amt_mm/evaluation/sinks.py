"""Whether single patches serve an encoder as scratch space: what registers are meant to mend."""

from __future__ import annotations

import torch
from torch import Tensor

from amt_mm.errors import InputError


def sink_measures(norms: Tensor, attention: Tensor, times: float = 2.) -> dict[str, float]:
    """Measure how far single patches stand out by their norm, and what [CLS] gives them.

    Large vision transformers keep what they know of the whole image in a few patches of empty
    background. Their features have roughly ten times the norm of all others, and maps of [CLS]
    attention show them instead of the object (Darcet et al., "Vision Transformers Need
    Registers", ICLR 2024).

    Args:
        norms: Norm of each patch's feature after the last block, ``(B, N)``.
        attention: [CLS] attention to each patch, not negative, ``(B, N)``; its scale has no say.
        times: A patch stands out if its norm is over so many times the median of its image.
            Defaults to 2: far below the outliers of the paper, above any spread without them.

    Returns:
        Over all images: ``largest``, the largest norm over the median, on average; in per
        cent ``outliers``, the share of patches that stand out, ``outlier_attention``, the share
        of the attention that falls on them, and ``peak``, the share that falls on the most
        attended patch.

    Raises:
        InputError: Shapes disagree, an image has no attention or norms of which half are zero, or
            a value is not finite.
    """
    if norms.dim() != 2 or norms.shape != attention.shape or not norms.numel():
        raise InputError(f'norms {tuple(norms.shape)} and attention {tuple(attention.shape)} do '
                         'not fit: give (B, N) both')
    norms, attention = norms.double(), attention.double()
    total = attention.sum(dim=1, keepdim=True)
    ordered = norms.sort(dim=1).values  # torch's quantile takes 16 million values at most
    middle = ordered[:, [(norms.shape[1] - 1) // 2, norms.shape[1] // 2]].mean(1, keepdim=True)
    known = (total > 0) & (middle > 0) & norms.isfinite().all(1, True)
    known &= attention.isfinite().all(1, True)
    if not known.all():
        raise InputError(f'image {int((~known).nonzero()[0, 0])} has norms or attention that are '
                         'not finite, or all zero: the encoder is broken')
    attention = attention / total
    stands_out = norms > times * middle
    return {
        'largest': (norms.amax(dim=1) / middle[:, 0]).mean().item(),
        'outliers': 100 * stands_out.double().mean().item(),
        'outlier_attention': 100 * torch.where(stands_out, attention, 0).sum(dim=1).mean().item(),
        'peak': 100 * attention.amax(dim=1).mean().item(),
    }
