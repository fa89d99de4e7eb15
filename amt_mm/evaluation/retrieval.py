"""Average precision and precision of ranked images, as revisited Oxford and Paris define them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def ranked_measures(relevant: Tensor, junk: Tensor, ks: Sequence[int]) -> Tensor:
    """Measure rankings as Radenovic et al., "Revisiting Oxford and Paris" (CVPR 2018) do.

    Junk is removed from a ranking first. With precisions ``p_r`` of the first r images and
    ``p_0 = 1``, a relevant image at place r adds ``(p_(r-1) + p_r) / 2`` to the average precision,
    which is divided by the number of relevant images: the area under the curve of precision over
    recall by the trapezoid rule, as in the evaluation of Oxford 5k (Philbin et al., CVPR 2007).
    (scikit-learn's ``average_precision_score`` adds ``p_r``.) Precision at k is that of the first k
    images or, if the last relevant image comes sooner, up to that image.

    Args:
        relevant: ``(m, N)`` bool, in the order of each ranking, the most similar image first.
        junk: ``(m, N)`` bool, images to ignore; none is relevant.
        ks: Numbers of images.

    Returns:
        ``(m, 1 + len(ks))`` float64 from 0 to 1: average precision, then the precisions; NaN for a
        ranking without a relevant image.
    """
    places = (~junk).cumsum(dim=1).double()  # (m, N), from 1
    found = relevant.cumsum(dim=1).double()  # relevant images up to each place
    count = found[:, -1]
    # In front of a relevant image there are one place and one relevant image less.
    before = torch.where(places > 1, (found - 1) / (places - 1), 1.)
    precision = torch.where(relevant, (before + found / places) / 2, 0.).sum(dim=1) / count
    last = torch.where(relevant, places, 0.).amax(dim=1)
    measures = [precision]
    for k in ks:
        depth = last.clamp(max=k)
        measures.append((relevant & (places <= depth[:, None])).sum(dim=1) / depth)
    return torch.stack(measures, dim=1)
