"""k-NN accuracy on a data set, computed by all processes together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce, get_dist_info
from torch import Tensor

from .knn import knn_rank


def knn_accuracies(train_features: Tensor, train_labels: Tensor, test_features: Tensor,
                   test_labels: Tensor, ks: Sequence[int], temperature: float = 0.07,
                   device: torch.device | str = 'cpu') -> dict[str, float]:
    """Measure the accuracy of :func:`~amt_mm.evaluation.knn_rank`.

    All processes must call it with the same features; each classifies its share of test images.

    Args:
        train_features: ``(N, D)``, on any device.
        train_labels: ``(N,)``, classes from 0.
        test_features: ``(M, D)``.
        test_labels: ``(M,)``, classes from 0.
        ks: Numbers of neighbours.
        temperature: Temperature of the votes. Defaults to .07.
        device: Where to search.

    Returns:
        Percentages: ``top1_k<k>`` for each k and, with at least five neighbours and more than five
        classes, ``top5_k<k>``. A class without a vote is not among the top five.
    """
    rank, world_size = get_dist_info()
    labels = test_labels[rank::world_size].to(device)
    classes = int(torch.maximum(train_labels.max(), test_labels.max())) + 1
    hits = torch.zeros(len(ks), 2, dtype=torch.int64, device=device)
    if len(labels):
        ranks = knn_rank(train_features, train_labels,
                         test_features[rank::world_size].to(device), ks, temperature, classes)
        for number, k in enumerate(ks):
            right = ranks[k] == labels[:, None]  # (m, 5)
            hits[number, 0], hits[number, 1] = right[:, 0].sum(), right.sum()
    all_reduce(hits)
    result = {}
    for k, (first, five) in zip(ks, (100 * hits.double() / len(test_labels)).tolist(),
                                strict=True):
        result[f'top1_k{k}'] = first
        if classes > 5 and min(k, len(train_labels)) >= 5:
            result[f'top5_k{k}'] = five
    return result
