import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from amt_mm.errors import InputError
from amt_mm.evaluation import accuracy, fit_linear_probe


@pytest.fixture(autouse=True)
def one_thread():
    # Thousands of tiny steps: a second thread only waits, for long if others use its core.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def features_of(count, seed, classes=5, width=24):
    """Correlated features far from zero mean and unit variance, as a ViT's are."""
    shared = torch.Generator().manual_seed(7)
    centres = torch.randn(classes, width, generator=shared)
    mixing = torch.randn(width, width, generator=shared) * torch.logspace(0, -1, width)
    scale = torch.logspace(-2, 1, width)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (count,), generator=generator)
    noise = torch.randn(count, width, generator=generator) @ mixing.T
    return (0.4 * centres[labels] + noise) * scale + 3, labels


@pytest.mark.parametrize('l2', [1e-1, 1e-3, 1e-4])
def test_agrees_with_scikit_learn(l2):
    train, labels = features_of(300, seed=0)
    test, test_labels = features_of(201, seed=1)
    probe = fit_linear_probe(train, labels, l2, tolerance=1e-7)

    scaler = StandardScaler().fit(train.double().numpy())
    oracle = LogisticRegression(C=1 / (len(train) * l2), tol=1e-9, max_iter=20_000)
    oracle.fit(scaler.transform(train.double().numpy()), labels.numpy())
    expected = oracle.predict_proba(scaler.transform(test.double().numpy()))

    np.testing.assert_allclose(probe.logits(test).softmax(1).numpy(), expected, atol=1e-3)
    largest = np.abs(oracle.coef_).max()
    np.testing.assert_allclose(probe.weight.numpy(), oracle.coef_, atol=2e-3 * largest)
    found = accuracy(probe.predict(test), test_labels)
    assert abs(found - 100 * (expected.argmax(1) == test_labels.numpy()).mean()) <= 1
    assert 40 < found < 99.9


def test_the_default_tolerance_is_tight_enough():
    train, labels = features_of(300, seed=0)
    test, _ = features_of(200, seed=1)
    loose, tight = (fit_linear_probe(train, labels, tolerance=t) for t in (1e-5, 1e-7))
    difference = loose.logits(test).softmax(1) - tight.logits(test).softmax(1)
    assert difference.abs().max() < 1e-2
    assert (loose.predict(test) == tight.predict(test)).double().mean() >= 0.99


def test_the_result_is_the_same_each_time_and_whatever_the_caller_does_with_gradients():
    train, labels = features_of(60, seed=2)
    first = fit_linear_probe(train, labels)
    torch.manual_seed(123)
    with torch.no_grad():
        second = fit_linear_probe(train, labels)
    assert torch.equal(first.weight, second.weight) and torch.equal(first.bias, second.bias)
    assert not first.weight.requires_grad


def test_scale_and_offset_of_a_feature_do_not_matter():
    train, labels = features_of(120, seed=3)
    test, _ = features_of(50, seed=4)
    plain = fit_linear_probe(train, labels).logits(test)
    # The variance floor is small beside these variances, not zero.
    moved = fit_linear_probe(train * 30 - 5, labels).logits(test * 30 - 5)
    torch.testing.assert_close(plain, moved, atol=2e-2, rtol=1e-2)


def test_features_are_standardised_as_batch_norm_does():
    train, labels = features_of(7, seed=12)
    probe = fit_linear_probe(train, labels)
    norm = torch.nn.BatchNorm1d(24, eps=1e-6, affine=False)
    expected = torch.nn.functional.linear(norm(train).double(), probe.weight, probe.bias)
    torch.testing.assert_close(probe.logits(train), expected, atol=1e-4, rtol=1e-4)


def test_of_equally_good_strengths_the_strongest_is_kept():
    train = torch.eye(3).repeat(5, 1)
    labels = torch.arange(3).repeat(5)
    assert fit_linear_probe(train, labels, [1e-3, 1e-1, 1e-2], train, labels).l2 == 1e-1


def test_a_constant_feature_is_harmless():
    train, labels = features_of(80, seed=5)
    test, _ = features_of(20, seed=6)
    with_constant = fit_linear_probe(torch.cat([train, torch.full((80, 1), 4.7)], 1), labels)
    logits = with_constant.logits(torch.cat([test, torch.full((20, 1), 4.7)], 1))
    torch.testing.assert_close(
        logits, fit_linear_probe(train, labels).logits(test), atol=1e-2, rtol=1e-2
    )


def test_the_validation_part_chooses_among_strengths():
    train, labels = features_of(40, seed=8)
    val, val_labels = features_of(400, seed=9)
    grid = [1e-4, 10.0, 1e-1, 1e-2]
    chosen = fit_linear_probe(train, labels, grid, val, val_labels)
    reached = {
        l2: accuracy(fit_linear_probe(train, labels, l2).predict(val), val_labels) for l2 in grid
    }
    assert len(set(reached.values())) > 1
    best = max(reached.values())
    assert chosen.l2 == max(l2 for l2 in grid if reached[l2] == best)


def test_classes_that_no_image_shows_are_kept():
    train, labels = features_of(50, seed=10)
    assert fit_linear_probe(train, labels, num_classes=8).weight.shape == (8, 24)


def test_stopping_early_gives_a_warning():
    train, labels = features_of(50, seed=11)
    with pytest.warns(UserWarning, match='after 2 iterations'):
        fit_linear_probe(train, labels, max_iterations=2)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        fit_linear_probe(train, labels)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'l2': 0.0}, 'l2 is 0'),
        ({'l2': []}, 'at least one'),
        ({'l2': [1e-3, 1e-2]}, 'validation part'),
        ({'val_features': torch.eye(3)}, 'validation part'),
        ({'l2': [1.0, 2.0], 'val_features': torch.eye(3)}, 'val_labels'),
        ({'l2': [1.0, 2.0], 'val_features': torch.eye(4)}, '4 wide'),
        ({'train_labels': torch.tensor([0, 1])}, 'train_labels'),
        ({'train_features': torch.tensor([[1.0, float('inf'), 0]] * 3)}, 'not finite'),
    ],
)
def test_bad_input_is_one_clear_line(change, message):
    good = {'train_features': torch.eye(3), 'train_labels': torch.tensor([0, 1, 1])}
    if change.get('val_features', torch.eye(3)).shape[1] == 4:
        change = {**change, 'val_labels': torch.tensor([0, 1, 1, 0])}
    with pytest.raises(InputError, match=message) as raised:
        fit_linear_probe(**{**good, **change})
    assert '\n' not in str(raised.value)
