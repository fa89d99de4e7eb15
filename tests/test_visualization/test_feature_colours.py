"""Principal components and colours of patch features against numpy and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from amt_mm.errors import InputError
from amt_mm.visualization.feature_colours import component_colours, principal_components


def features(batch=3, count=35, width=11, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(batch, count, 4, generator=generator) @ torch.randn(
        4, width, generator=generator)
    return 7 + mixed + 0.1 * torch.randn(batch, count, width, generator=generator)


def test_components_are_those_of_scikit_learn():
    rows = features().flatten(0, 1)
    oracle = PCA(3, svd_solver='full').fit(rows.double().numpy())
    found, share = principal_components(rows)
    wanted = oracle.transform(rows.double().numpy())
    # Up to the sign of each.
    np.testing.assert_allclose(np.abs(found.numpy()), np.abs(wanted), atol=1e-8)
    assert share == pytest.approx(oracle.explained_variance_ratio_.sum())


def test_colours_are_the_components_scaled_by_quantiles_over_all_images():
    given = features()
    colours, _ = component_colours(given)
    rows = given.flatten(0, 1).double().numpy()
    rows = rows - rows.mean(axis=0)
    _, _, directions = np.linalg.svd(rows, full_matrices=False)
    assert colours.shape == (3, 35, 3) and colours.dtype == np.uint8
    for i in range(3):
        direction = directions[i]
        if direction[np.abs(direction).argmax()] < 0:
            direction = -direction
        score = rows @ direction
        low, high = np.quantile(score, [0.01, 0.99])
        wanted = np.clip((score - low) / (high - low), 0, 1) * 255
        assert np.abs(colours.reshape(-1, 3)[:, i] - wanted).max() <= 0.51
    # One scale for all: alone, an image has other colours.
    assert not np.array_equal(component_colours(given[:1])[0], colours[:1])


def test_equal_patches_are_one_colour():
    colours, share = component_colours(torch.ones(2, 9, 5))
    assert (colours == colours[0, 0]).all() and share == 0


def test_too_few_or_broken_features_are_refused():
    for given in (torch.ones(2, 9), torch.ones(9, 2), torch.full((9, 5), float('nan'))):
        with pytest.raises(InputError, match='principal components'):
            principal_components(given)
