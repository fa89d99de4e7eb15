"""A linear classifier on frozen features, solved to convergence.

The usual probe (batch norm without affine parameters, then a linear layer, 90 epochs of LARS)
approximates the minimum of a convex function slowly and with noise. With fixed features this
minimum can be computed directly.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import InputError
from .accuracy import accuracy
from .checks import check_features, check_labels
from .drawing import check_held_out, held_out

# Keeps constant features finite; the eps of MAE's batch norm.
_VARIANCE_FLOOR = 1e-6


@dataclass(frozen=True)
class LinearProbe:
    """A fitted linear classifier.

    Attributes:
        weight: ``(C, D)`` float64, for standardised features.
        bias: ``(C,)`` float64.
        mean: ``(D,)``, mean of the training features.
        std: ``(D,)``, their standard deviation.
        l2: Strength of the penalty.
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    std: Tensor
    l2: float

    def logits(self, features: Tensor) -> Tensor:
        """Return the ``(n, C)`` logits of ``(n, D)`` features, float64."""
        check_features('features', features, len(self.mean))
        return F.linear((features.double() - self.mean) / self.std, self.weight, self.bias)

    def predict(self, features: Tensor) -> Tensor:
        """Return the ``(n,)`` classes of ``(n, D)`` features."""
        return self.logits(features).argmax(dim=1)


def fit_linear_probe(train_features: Tensor, train_labels: Tensor,
                     l2: float | Sequence[float] = 1e-3, val_features: Tensor | None = None,
                     val_labels: Tensor | None = None, num_classes: int | None = None,
                     tolerance: float = 1e-5, max_iterations: int = 2000) -> LinearProbe:
    """Fit multinomial logistic regression on standardised features.

    Minimises ``mean cross-entropy + l2 / 2 * |weight|^2`` (the bias is not penalised) by
    full-batch L-BFGS in float64 from zero weights, without seed or schedule. scikit-learn's
    ``LogisticRegression(C=1 / (n * l2))`` has the same minimum.

    Args:
        train_features: ``(N, D)``, of any floating type, on any device.
        train_labels: ``(N,)`` integer classes from 0.
        l2: Strength of the penalty. Defaults to 1e-3, which suits a few thousand images. Of
            several values the one with the best validation accuracy is kept; ties go to the
            strongest.
        val_features: ``(V, D)``, to select one of several ``l2``.
        val_labels: ``(V,)``, their classes.
        num_classes: Defaults to the highest label plus one.
        tolerance: Stop when no component of the gradient is larger. Defaults to 1e-5, below which
            predictions no longer change.
        max_iterations: Maximum number of L-BFGS steps; reaching it gives a warning.

    Raises:
        InputError: Shapes disagree, a feature is not finite, a label is out of range, ``l2`` is
            not positive, or several ``l2`` come without a validation part.
    """
    check_features('train_features', train_features)
    num_classes = check_labels('train_labels', train_labels, len(train_features), num_classes)
    strengths = [l2] if isinstance(l2, (int, float)) else sorted(l2, reverse=True)
    if not strengths or not min(strengths) > 0:
        raise InputError(f'l2 is {l2}; give at least one strength, each above 0')
    if (len(strengths) > 1) != (val_features is not None):
        raise InputError('several l2 need a validation part to select from, one l2 needs none')
    if val_features is not None:
        if val_labels is None:
            raise InputError('val_features come without val_labels; give both')
        check_features('val_features', val_features, train_features.shape[1])
        check_labels('val_labels', val_labels, len(val_features), num_classes)

    features = train_features.double()
    labels = train_labels.to(features.device, torch.int64)
    mean = features.mean(dim=0)  # (D,)
    std = (features.var(dim=0, correction=0) + _VARIANCE_FLOOR).sqrt()  # (D,)
    features = (features - mean) / std  # (N, D)

    weight = features.new_zeros(num_classes, features.shape[1])
    bias = features.new_zeros(num_classes)
    spread, axes = torch.linalg.eigh(features.T @ features / len(features))  # (D,), (D, D)
    best, best_accuracy = None, -1.0
    # From strong to weak: each fit starts close to its minimum, at that of the last.
    for strength in strengths:
        # Features are strongly correlated, which makes L-BFGS slow. In these variables the Hessian
        # is near the identity, with .1 for the curvature of softmax, and the minimum is the same.
        scale = (.1 * spread.clamp(min=0) + strength).rsqrt()  # (D,)
        weight, bias = _minimise(features, axes, scale, labels, weight, bias, strength, tolerance,
                                 max_iterations)
        probe = LinearProbe(weight, bias, mean, std, float(strength))
        if len(strengths) == 1:
            return probe
        reached = accuracy(probe.predict(val_features), val_labels)
        if reached > best_accuracy:
            best, best_accuracy = probe, reached
    return best


def select_l2(features: Tensor, labels: Tensor, strengths: Sequence[float],
              num_classes: int | None = None, files: Tensor | None = None) -> float:
    """Return the penalty with which :func:`fit_linear_probe` is best on held-out training images.

    Every fifth image of each class is held out (:func:`~amt_mm.evaluation.drawing.held_out`), and
    the others are fitted. Ties go to the strongest.

    Args:
        features: ``(n, D)``, training features.
        labels: ``(n,)`` integer classes from 0, on the CPU.
        strengths: Two penalties or more.
        num_classes: Defaults to the highest label plus one.
        files: See :func:`~amt_mm.evaluation.drawing.number_of_file`.

    Raises:
        InputError: No class has five images; and see :func:`fit_linear_probe`.
    """
    check_held_out(labels, files, 'the penalty of the linear probe')
    aside = held_out(labels, files)
    rows = aside.to(features.device)
    return fit_linear_probe(features[~rows], labels[~aside], strengths, features[rows],
                            labels[aside], num_classes).l2


def _minimise(features: Tensor, axes: Tensor, scale: Tensor, labels: Tensor, weight: Tensor,
              bias: Tensor, l2: float, tolerance: float, max_iterations: int
              ) -> tuple[Tensor, Tensor]:
    """Return the weight ``(C, D)`` and bias ``(C,)`` that minimise the penalised loss.

    The search is in variables ``v`` with ``weight = (v * scale) axes^T``; ``axes`` ``(D, D)`` is
    orthogonal, ``scale`` ``(D,)``.
    """
    mixed = features @ axes * scale
    v = (weight @ axes / scale).requires_grad_()
    bias = bias.clone().requires_grad_()
    # A gradient this small keeps every component of the weight's gradient below the tolerance.
    smallest = tolerance * min(1., float(scale.min())) / math.sqrt(len(scale))
    # tolerance_change=0: a short step does not prove a minimum, a small gradient does.
    optimiser = torch.optim.LBFGS(
        [v, bias], max_iter=max_iterations, tolerance_grad=smallest, tolerance_change=0,
        history_size=20, line_search_fn='strong_wolfe')

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = F.cross_entropy(F.linear(mixed, v, bias), labels)
        loss = loss + l2 / 2 * (v * scale).square().sum()
        loss.backward()
        return loss

    with torch.enable_grad():
        optimiser.step(closure)
        closure()
    gradient = v.grad / scale @ axes.T
    largest = max(gradient.abs().max().item(), bias.grad.abs().max().item())
    if largest > tolerance:
        warnings.warn(
            f'linear probe with l2 = {l2:g}: gradient {largest:.1e} after {max_iterations} '
            f'iterations, above the tolerance {tolerance:.1e}', stacklevel=3)
    return v.detach() * scale @ axes.T, bias.detach()
