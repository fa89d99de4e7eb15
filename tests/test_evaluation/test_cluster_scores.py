"""Agreement of clusters and classes against scikit-learn and scipy."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from amt_mm.errors import InputError
from amt_mm.evaluation.cluster_scores import _matched, cluster_scores


@pytest.mark.parametrize(('clusters', 'classes'), [(3, 8), (8, 3), (6, 6), (1, 4), (4, 1), (1, 1)])
def test_scores_are_those_of_scikit_learn_and_of_scipys_matching(clusters, classes):
    chance = np.random.RandomState(10 * clusters + classes)
    for count in (1, 2, 17, 60, 61):
        labels = chance.randint(classes, size=count)
        # Half of them follow the class.
        found = np.where(chance.rand(count) < .5, labels % clusters,
                         chance.randint(clusters, size=count))
        scores = cluster_scores(torch.tensor(found), torch.tensor(labels))
        table = np.zeros((clusters, classes))
        np.add.at(table, (found, labels), 1)
        matched = table[linear_sum_assignment(-table)].sum()
        assert scores == pytest.approx(dict(
            nmi=100 * normalized_mutual_info_score(labels, found),
            ari=100 * adjusted_rand_score(labels, found), accuracy=100 * matched / count))


@pytest.mark.parametrize('shape', [(20, 20), (9, 23), (23, 9)])
def test_large_tables_are_matched_as_by_scipy(shape):
    chance = np.random.RandomState(0)
    for _ in range(20):
        gains = chance.rand(*shape)
        # Rows and columns that all want the same.
        gains += np.add.outer(chance.rand(shape[0]), chance.rand(shape[1])) * 3
        assert _matched(torch.from_numpy(gains)) == pytest.approx(
            gains[linear_sum_assignment(-gains)].sum())


def test_names_of_clusters_do_not_matter():
    labels = torch.arange(40) % 4
    assert cluster_scores((labels + 3) % 4, labels) == pytest.approx(
        dict(nmi=100, ari=100, accuracy=100))


def test_other_numbers_of_clusters_and_labels_are_refused():
    with pytest.raises(InputError, match='one of each per image'):
        cluster_scores(torch.zeros(3, dtype=int), torch.zeros(4, dtype=int))
