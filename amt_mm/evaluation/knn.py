"""k-nearest-neighbour classification of frozen features, the protocol of DINO."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from .checks import check_features, check_labels

# Cosines are compared in steps of 2^-22, the rounding error of a float32 dot
# product: two copies of one image then tie exactly on every device.
_COSINE_STEPS = 2**22
_INDEX_SPAN = 2**32
# Votes are integers, whose sum does not depend on the order of addition.
_VOTE_STEPS = 2**40


def knn_classify(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    k: int | Sequence[int] = 20,
    temperature: float = 0.07,
    num_classes: int | None = None,
    chunk: int = 2**24,
) -> Tensor | dict[int, Tensor]:
    """Classify test images by the votes of their nearest training images.

    Neighbours are the training images of largest cosine similarity; each votes
    for its class with weight ``exp(similarity / temperature)``. Of two equally
    similar images the earlier one counts as nearer, of two classes with equal
    votes the lower one wins, so the answer is the same on every device.

    Args:
        train_features: (N, D) features, of any floating type.
        train_labels: (N,) integer classes from 0.
        test_features: (M, D) features, on the same device.
        k: Number of voters, or several numbers, which share one search. Default
            20, which DINO (Caron et al., ICCV 2021, section 3.2) found best
            throughout. A k above N means all N images and is warned of.
        temperature: Default .07, that of DINO.
        num_classes: Number of classes. Default: the highest label plus one.
        chunk: Similarities held in memory at a time. The default, 2^24, takes
            about 400 MB whatever N and M are.

    Returns:
        (M,) predicted classes, int64; for several k a dictionary from k to them.

    Raises:
        InputError: If shapes disagree, a feature is not finite, a label is out
            of range, or k or temperature is not positive.
    """
    check_features('train_features', train_features)
    check_features('test_features', test_features, train_features.shape[1])
    num_classes = check_labels('train_labels', train_labels, len(train_features), num_classes)
    asked = [k] if isinstance(k, int) else list(k)
    if not asked or min(asked) < 1:
        raise InputError(f'k is {k}; give at least one k, each 1 or more')
    if not temperature > 0:
        raise InputError(f'temperature is {temperature}; it must be above 0')
    if max(asked) > len(train_features):
        warnings.warn(
            f'k-NN with k = {max(asked)} uses all {len(train_features)} training images there are',
            stacklevel=2,
        )

    train = F.normalize(train_features.float(), dim=1)
    test = F.normalize(test_features.float(), dim=1)
    labels = train_labels.to(train.device)
    rows = max(1, chunk // len(train))
    parts: dict[int, list[Tensor]] = {one: [] for one in asked}
    for queries in test.split(rows):
        cosines, neighbours = _nearest(queries @ train.T, min(max(asked), len(train)))
        # Relative to the nearest neighbour, so that no vote overflows.
        votes = torch.exp((cosines - cosines[:, :1]) / temperature)  # (m, k)
        votes = (votes * _VOTE_STEPS).round().long()
        classes = labels[neighbours]  # (m, k)
        for one in asked:
            ballot = votes.new_zeros(len(queries), num_classes)
            ballot.scatter_add_(1, classes[:, :one], votes[:, :one])
            # argmax of a sort that keeps order: the lowest class wins a tie.
            parts[one].append(ballot.sort(dim=1, descending=True, stable=True).indices[:, 0])
    predictions = {one: torch.cat(found) for one, found in parts.items()}
    return predictions[k] if isinstance(k, int) else predictions


def _nearest(cosines: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest cosines of each row and their columns, ties by column.

    Args:
        cosines: (m, N) similarities in [-1, 1].
        k: At most N.

    Returns:
        (m, k) similarities, float64, and (m, k) columns, int64.
    """
    # One integer holds both keys: the similarity above, the column below.
    keys = (cosines * _COSINE_STEPS).round().long() * _INDEX_SPAN
    keys -= torch.arange(cosines.shape[1], device=cosines.device)
    keys = keys.topk(k, dim=1).values  # (m, k), no two alike
    columns = (-keys) % _INDEX_SPAN
    return (keys + columns).double() / (_COSINE_STEPS * _INDEX_SPAN), columns
