"""k-means against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from amt_mm.errors import InputError
from amt_mm.evaluation import kmeans as module
from amt_mm.evaluation.kmeans import kmeans, lloyd, nearest


@pytest.fixture
def points():
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(6, 3, generator=generator, dtype=torch.double) * 4
    return centres.repeat(20, 1) + torch.randn(120, 3, generator=generator)


def test_lloyd_is_scikit_learns_from_the_same_centres(points, monkeypatch):
    monkeypatch.setattr(module, '_ROWS', 50)
    start = points[:5]
    for iterations in (1, 300):
        oracle = KMeans(5, init=start.numpy(), n_init=1, tol=0, max_iter=iterations,
                        algorithm='lloyd').fit(points.numpy())
        centres, inertia = lloyd(points, start, iterations)
        np.testing.assert_allclose(centres.numpy(), oracle.cluster_centers_)
        assert inertia == pytest.approx(oracle.inertia_)
    assert nearest(points, centres)[0].tolist() == oracle.labels_.tolist()


def test_an_empty_cluster_stays(points):
    far = torch.full((1, 3), 1e3, dtype=torch.double)
    centres, _ = lloyd(points, torch.cat([points[:2], far]), 300)
    assert torch.equal(centres[2:], far)


def test_the_best_of_several_starts_is_as_good_as_scikit_learns(points):
    found = kmeans(points, 6, seed=3)
    inertia = float(nearest(points, found)[1].sum())
    best = KMeans(6, n_init=20, random_state=0).fit(points.numpy()).inertia_
    assert inertia == pytest.approx(best, rel=1e-3)
    assert torch.equal(found, kmeans(points, 6, seed=3))
    one = [float(nearest(points, kmeans(points, 6, 1, seed=seed))[1].sum()) for seed in range(8)]
    assert max(one) > 1.05 * inertia


def test_centres_are_drawn_by_squared_distance():
    """Two groups at 0 and one image at 3, one at 1: the second centre is the far one by 9 : 1."""
    points = torch.tensor([[0.0]] * 50 + [[1.0], [3.0]], dtype=torch.double)
    generator = torch.Generator().manual_seed(0)
    drawn = [module._spread(points, 2, generator).flatten().tolist() for _ in range(600)]
    second = [b for a, b in drawn if a == 0]
    assert set(second) == {1, 3}
    # Four standard errors.
    assert abs(np.mean([b == 3 for b in second]) - .9) < 4 * (.09 / len(second))**.5


def test_copies_are_drawn_and_too_many_clusters_refused():
    assert kmeans(torch.ones(4, 2), 3, 2).shape == (3, 2)
    with pytest.raises(InputError, match='4 images cannot make 5 clusters'):
        kmeans(torch.ones(4, 2), 5)
