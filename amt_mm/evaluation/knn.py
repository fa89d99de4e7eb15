"""k-nearest-neighbour classification of frozen features, the protocol of DINO."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from .checks import check_features, check_labels

# Cosines are compared in steps of 2^-22, the rounding error of a float32 dot product, so that
# copies of an image tie exactly on every device.
_COSINE_STEPS = 2**22
_INDEX_SPAN = 2**32
# Less than every key of a training image.
_NO_KEY = torch.iinfo(torch.int64).min
# Votes are integers, whose sum does not depend on the order of addition.
_VOTE_BITS = 40


def knn_classify(train_features: Tensor, train_labels: Tensor, test_features: Tensor,
                 k: int | Sequence[int] = 20, temperature: float = 0.07,
                 num_classes: int | None = None, chunk: int = 2**22
                 ) -> Tensor | dict[int, Tensor]:
    """Classify test images by the votes of their nearest training images.

    The prediction is the first class of :func:`knn_rank`, which describes the other arguments and
    errors. ``k`` is a number of neighbours, or several, which share one search; it defaults to 20,
    which DINO (Caron et al., ICCV 2021, section 3.2) found best throughout.

    Returns:
        ``(M,)`` predicted classes, int64; for several k, k -> classes.
    """
    ranks = knn_rank(train_features, train_labels, test_features,
                     [k] if isinstance(k, int) else list(k), temperature, num_classes, 1, chunk)
    predictions = {one: rank[:, 0] for one, rank in ranks.items()}
    return predictions[k] if isinstance(k, int) else predictions


def knn_rank(train_features: Tensor, train_labels: Tensor, test_features: Tensor,
             ks: Sequence[int] = (10, 20, 100, 200), temperature: float = 0.07,
             num_classes: int | None = None, top: int = 5, chunk: int = 2**22
             ) -> dict[int, Tensor]:
    """Rank classes for test images by the votes of their nearest training images.

    Neighbours are the training images of largest cosine similarity; each votes for its class with
    weight ``exp(similarity / temperature)``. Ties go to the earlier image and the lower class, so
    the result is the same on every device. The search runs on the device of the test features;
    training features are moved there chunk by chunk, because 1.28 million may not fit on a GPU.

    Args:
        train_features: ``(N, D)``, of any floating type, on any device.
        train_labels: ``(N,)`` integer classes from 0.
        test_features: ``(M, D)``, of any floating type.
        ks: Numbers of neighbours, which share one search. Defaults to DINO's. A k above N uses all
            N images, with a warning.
        temperature: Defaults to .07, as in DINO.
        num_classes: Defaults to the highest label plus one.
        top: Number of classes to return. Defaults to 5.
        chunk: Similarities held in memory at once. The default, 2^22, takes about 100 MB for any N
            and M; the neighbours take 8 bytes for each of M x the largest k besides.

    Returns:
        k -> ``(M, top)`` classes, int64, most votes first; -1 where fewer classes have a vote.

    Raises:
        InputError: Shapes disagree, a feature is not finite, a label is out of range, or k or
            temperature is not positive.
    """
    check_features('train_features', train_features)
    check_features('test_features', test_features, train_features.shape[1])
    num_classes = check_labels('train_labels', train_labels, len(train_features), num_classes)
    ks = list(ks)
    if not ks or min(ks) < 1:
        raise InputError(f'k is {ks}; give at least one k, each 1 or more')
    if not temperature > 0:
        raise InputError(f'temperature is {temperature}; it must be above 0')
    if max(ks) > len(train_features):
        warnings.warn(f'k-NN with k = {max(ks)} uses all {len(train_features)} training images '
                      'there are', stacklevel=2)

    most = min(max(ks), len(train_features))
    neighbours = _nearest(train_features, test_features, most, chunk)  # (M, most)
    labels = train_labels.to(neighbours.device)
    rows = max(1, chunk // max(most, num_classes))
    parts: dict[int, list[Tensor]] = {one: [] for one in ks}
    for keys in neighbours.split(rows):
        columns, cosines = _decode(keys)  # (m, most) each
        for one, ranks in _vote(cosines, labels[columns], ks, temperature, num_classes, top):
            parts[one].append(ranks)
    return {one: torch.cat(found) for one, found in parts.items()}


def nearest_images(features: Tensor, queries: Tensor, k: int, chunk: int = 2**22
                   ) -> tuple[Tensor, Tensor]:
    """Find the images that are most similar to others, by cosine.

    Args:
        features: ``(N, D)``, of any floating type, on any device.
        queries: ``(m, D)``, features of the others.
        k: Number of neighbours, at least 1; with fewer images, all of them.
        chunk: See :func:`knn_rank`.

    Returns:
        Indices ``(m, k)`` int64 and cosines ``(m, k)`` float64, nearest first, ties by index.
    """
    return _decode(_nearest(features, queries, min(k, len(features)), chunk))


def nearest_others(features: Tensor, rows: Sequence[int], k: int, chunk: int = 2**22
                   ) -> tuple[Tensor, Tensor]:
    """Find the images of a set that are most similar to some of them, by cosine.

    Args:
        features: ``(N, D)``, of any floating type.
        rows: Indices of the m images whose neighbours are wanted.
        k: Number of neighbours, at least 1; with fewer other images, all of them.
        chunk: See :func:`knn_rank`.

    Returns:
        Indices ``(m, k)`` int64 and cosines ``(m, k)`` float64, nearest first, ties by index. An
        image is not a neighbour of itself, but a copy of it is.

    Raises:
        InputError: ``features`` is not a finite matrix.
    """
    check_features('features', features)
    queries = torch.as_tensor(rows, device=features.device)
    most = min(k, len(features) - 1)
    # One more, since the image itself is among them unless as many copies precede it.
    columns, cosines = nearest_images(features, features[queries], most + 1, chunk)
    others = (columns != queries[:, None]).int().argsort(dim=1, descending=True, stable=True)
    order = others[:, :most]
    return columns.gather(1, order), cosines.gather(1, order)


def _decode(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices and the cosines (float64) in the keys of :func:`_nearest`."""
    columns = (-keys) % _INDEX_SPAN
    return columns, (keys + columns).double() / (_COSINE_STEPS * _INDEX_SPAN)


def _vote(cosines: Tensor, classes: Tensor, ks: Sequence[int], temperature: float,
          num_classes: int, top: int) -> Iterator[tuple[int, Tensor]]:
    """Yield each k and its ``(m, top)`` classes by votes.

    ``cosines`` (float64) and ``classes`` are those of the neighbours, nearest first, ``(m, largest
    k)``.
    """
    # The sum of votes and, below it, the class must fit into one integer of 63 bits.
    span = 1 << num_classes.bit_length()
    bits = min(_VOTE_BITS, 62 - cosines.shape[1].bit_length() - num_classes.bit_length())
    # Relative to the nearest neighbour, so that no vote overflows.
    votes = torch.exp((cosines - cosines[:, :1]) / temperature)
    votes = (votes * 2**bits).round().long()  # (m, k)
    numbers = torch.arange(num_classes, device=votes.device)
    for one in ks:
        ballot = votes.new_zeros(len(votes), num_classes)
        ballot.scatter_add_(1, classes[:, :one], votes[:, :one])
        # No two keys alike: the lowest class wins a tie.
        best = (ballot * span - numbers).topk(min(top, num_classes), dim=1).values
        ranks = (-best) % span
        ranks = torch.where(best + ranks > 0, ranks, -1)
        yield one, F.pad(ranks, (0, top - ranks.shape[1]), value=-1)


def _nearest(train: Tensor, test: Tensor, k: int, chunk: int) -> Tensor:
    """Find the k <= N training images of largest cosine for each test image, ties by index.

    Returns:
        ``(M, k)`` keys, int64, descending: the similarity in the upper bits, the negative index of
        the training image in the lower ones.
    """
    device = test.device
    columns = max(1, min(len(train), 2**14, chunk))
    rows = max(1, min(len(test), chunk // columns))
    best = torch.full((len(test), k), _NO_KEY, device=device)
    # Allocating these for each chunk would take longer than the search.
    cosines = torch.empty(rows * columns, device=device)
    keys = torch.empty(rows * columns, dtype=torch.int64, device=device)
    for first in range(0, len(train), columns):
        gallery = F.normalize(train[first:first + columns].to(device).float(), dim=1)
        numbers = torch.arange(first, first + len(gallery), device=device)
        for start in range(0, len(test), rows):
            queries = F.normalize(test[start:start + rows].float(), dim=1)
            shape = len(queries), len(gallery)
            found = cosines[:shape[0] * shape[1]].view(shape)
            torch.matmul(queries, gallery.T, out=found)
            key = keys[:shape[0] * shape[1]].view(shape)
            key.copy_(found.mul_(_COSINE_STEPS).round_()).mul_(_INDEX_SPAN).sub_(numbers)
            nearest = key.topk(min(k, shape[1]), dim=1).values
            known = best[start:start + rows]
            best[start:start + rows] = torch.cat([known, nearest], dim=1).topk(k, dim=1).values
    return best
