"""Whether an encoder uses single patches as scratch space, which registers are meant to prevent."""

from __future__ import annotations

import torch
from torch import Tensor

from amt_mm.errors import InputError


def sink_measures(norms: Tensor, attention: Tensor, times: float = 2.) -> dict[str, float]:
    """Measure outliers among the norms of patches, and the [CLS] attention that they receive.

    Large vision transformers store global information in a few patches of empty background. These
    have about ten times the norm of the others, and maps of [CLS] attention show them instead of
    the object (Darcet et al., "Vision Transformers Need Registers", ICLR 2024).

    Args:
        norms: Norm of each patch's feature after the last block, ``(B, N)``.
        attention: [CLS] attention to each patch, ``(B, N)``, non-negative, of any scale.
        times: A patch is an outlier if its norm exceeds this multiple of its image's median.
            Defaults to 2: far below the outliers of the paper, above the spread without outliers.

    Returns:
        Means over all images: ``largest``, the largest norm over the median; in per cent
        ``outliers``, the share of patches that are outliers, ``outlier_attention``, their share of
        the attention, and ``peak``, the share of the most attended patch.

    Raises:
        InputError: Shapes disagree, an image has no attention or half its norms are zero, or a
            value is not finite.
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
