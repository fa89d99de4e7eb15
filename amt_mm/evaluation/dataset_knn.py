"""k-NN accuracy on a data set, computed by all processes together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from mmengine.dist import get_dist_info
from torch import Tensor

from .checks import count_classes
from .dataset_features import gather_in_order
from .knn import knn_rank


def knn_ranks(train_features: Tensor, train_labels: Tensor, test_features: Tensor,
              test_labels: Tensor, ks: Sequence[int], temperature: float = 0.07,
              device: torch.device | str = 'cpu') -> dict[int, Tensor]:
    """Rank classes as :func:`~amt_mm.evaluation.knn_rank` does.

    All processes must call it with the same features; each ranks for its share of test images.

    Args:
        train_features: ``(N, D)``, on any device.
        train_labels: ``(N,)``, classes from 0.
        test_features: ``(M, D)``.
        test_labels: ``(M,)``, classes from 0, of which only the largest matters.
        ks: Numbers of neighbours.
        temperature: Temperature of the votes. Defaults to .07.
        device: Where to search.

    Returns:
        k -> ``(M, 5)`` classes, on the CPU, see :func:`~amt_mm.evaluation.knn_rank`.
    """
    rank, world_size = get_dist_info()
    own = torch.arange(len(test_labels))[rank::world_size]
    ranks = dict.fromkeys(ks, torch.empty(0, 5, dtype=torch.int64))
    if len(own):
        ranks = knn_rank(train_features, train_labels, test_features[own].to(device), ks,
                         temperature, count_classes(train_labels, test_labels))
    return {k: gather_in_order(own, part.cpu(), len(test_labels)) for k, part in ranks.items()}


def rank_accuracies(ranks: Mapping[int, Tensor], train_labels: Tensor, test_labels: Tensor
                    ) -> dict[str, float]:
    """Measure the accuracy of :func:`knn_ranks`.

    Args:
        ranks: From there.
        train_labels: ``(N,)``, classes from 0.
        test_labels: ``(M,)``, classes from 0.

    Returns:
        Percentages: ``top1_k<k>`` for each k and, with at least five neighbours and more than five
        classes, ``top5_k<k>``. A class without a vote is not among the top five.
    """
    result = {}
    for k, found in ranks.items():
        right = found == test_labels[:, None]  # (M, 5)
        result[f'top1_k{k}'] = 100 * int(right[:, 0].sum()) / len(right)
        if count_classes(train_labels, test_labels) > 5 and min(k, len(train_labels)) >= 5:
            result[f'top5_k{k}'] = 100 * int(right.sum()) / len(right)
    return result


def knn_accuracies(train_features: Tensor, train_labels: Tensor, test_features: Tensor,
                   test_labels: Tensor, ks: Sequence[int], device: torch.device | str = 'cpu'
                   ) -> dict[str, float]:
    """Return :func:`rank_accuracies` of :func:`knn_ranks`, which has the arguments."""
    ranks = knn_ranks(train_features, train_labels, test_features, test_labels, ks, device=device)
    return rank_accuracies(ranks, train_labels, test_labels)
