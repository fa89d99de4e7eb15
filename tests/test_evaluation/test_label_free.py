"""RankMe, alignment and uniformity against their formulas."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist

from amt_mm.errors import InputError
from amt_mm.evaluation import label_free
from amt_mm.evaluation.label_free import alignment, rankme, uniformity


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(37, 11, generator=generator) * torch.logspace(-1, 1, 11) + 2


@pytest.mark.parametrize('wide', [False, True])
def test_rankme_is_the_entropy_of_the_singular_values(features, wide):
    features = features.T if wide else features
    # Roots of the eigenvalues of the Gram matrix, which is another way to them.
    matrix = features.double().numpy()
    gram = matrix @ matrix.T if wide else matrix.T @ matrix
    values = np.sqrt(np.linalg.eigvalsh(gram))
    shares = values / values.sum() + 1e-7
    assert rankme(features) == pytest.approx(math.exp(-sum(p * math.log(p) for p in shares)))


def test_rankme_of_known_matrices():
    assert rankme(3 * torch.eye(7)[:, :5]) == pytest.approx(5, rel=1e-4)
    one = torch.outer(torch.arange(1., 9), torch.arange(1., 5))
    assert rankme(one) == pytest.approx(1, rel=1e-4)
    with pytest.raises(InputError, match='all 0'):
        rankme(torch.zeros(3, 2))


def unit(features):
    features = features.double().numpy()
    return features / np.linalg.norm(features, axis=1, keepdims=True)


def test_alignment_is_the_mean_squared_distance_of_pairs(features):
    other = features.flip(1) + 1
    wanted = np.mean([((x - y)**2).sum()
                      for x, y in zip(unit(features), unit(other), strict=True)])
    assert alignment(features, other) == pytest.approx(wanted)
    # The length of a feature does not matter.
    assert alignment(features, 3 * features) == pytest.approx(0, abs=1e-12)
    assert alignment(features, -features) == pytest.approx(4)


@pytest.mark.parametrize('rows', [5, 4096])
def test_uniformity_is_over_all_pairs_of_different_images(features, monkeypatch, rows):
    monkeypatch.setattr(label_free, '_ROWS', rows)
    wanted = np.log(np.exp(-2 * pdist(unit(features), 'sqeuclidean')).mean())
    assert uniformity(features) == pytest.approx(wanted)
    assert uniformity(torch.ones(4, 3)) == pytest.approx(0, abs=1e-12)
    with pytest.raises(InputError, match='two or more'):
        uniformity(features[:1])
