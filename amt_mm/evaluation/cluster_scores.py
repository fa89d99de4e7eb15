"""How well clusters agree with classes."""

from __future__ import annotations

# A dependency of torch, unlike scipy; 1,000 clusters and classes take it a minute or two.
import networkx as nx
import torch
from torch import Tensor

from ..errors import InputError


def cluster_scores(clusters: Tensor, labels: Tensor) -> dict[str, float]:
    """Compare clusters with classes; the names of the clusters do not matter.

    Args:
        clusters: ``(n,)`` integers from 0.
        labels: ``(n,)`` integer classes from 0.

    Returns:
        In per cent: ``nmi``, mutual information over the mean of both entropies; ``ari``, the
        adjusted Rand index (Hubert and Arabie, 1985), 0 by chance; ``accuracy``, the images whose
        class is that of their cluster when each class has at most one cluster, matched as well as
        possible.

    Raises:
        InputError: The shapes differ, or there is no image.
    """
    if clusters.shape != labels.shape or clusters.ndim != 1 or len(labels) == 0:
        raise InputError(f'{tuple(clusters.shape)} clusters cannot be compared with '
                         f'{tuple(labels.shape)} labels; give one of each per image')
    classes = int(labels.max()) + 1
    shape = int(clusters.max()) + 1, classes
    table = torch.bincount(clusters.cpu() * classes + labels.cpu(), minlength=shape[0] * classes)
    table = table.view(shape).double()  # images of each cluster and class
    return {'nmi': 100 * _mutual_information(table), 'ari': 100 * _adjusted_rand(table),
            'accuracy': 100 * _matched(table.long()) / len(labels)}


def _mutual_information(table: Tensor) -> float:
    joint = table / table.sum()
    rows, columns = _entropy(joint.sum(dim=1)), _entropy(joint.sum(dim=0))
    if rows + columns == 0:  # one cluster, one class
        return 1.0
    return 2 * (rows + columns - _entropy(joint.flatten())) / (rows + columns)


def _entropy(shares: Tensor) -> float:
    return float(-torch.xlogy(shares, shares).sum())


def _adjusted_rand(table: Tensor) -> float:
    def pairs(counts: Tensor) -> float:
        return float((counts * (counts - 1) / 2).sum())

    rows, columns = pairs(table.sum(dim=1)), pairs(table.sum(dim=0))
    expected = rows * columns / max(pairs(table.sum()), 1)
    highest = (rows + columns) / 2
    if highest == expected:  # every image, or none, is a cluster and a class of its own
        return 1.0
    return (pairs(table.flatten()) - expected) / (highest - expected)


def _matched(gains: Tensor) -> float:
    """Return the largest sum of entries, ``(r, c)``, with no two in one row or column."""
    graph = nx.Graph()
    graph.add_weighted_edges_from(
        (('row', i), ('column', j), gain) for i, row in enumerate(gains.tolist())
        for j, gain in enumerate(row) if gain)
    return sum(graph.edges[pair]['weight'] for pair in nx.max_weight_matching(graph))
