"""Classification from a few labelled images a class, as AttMask measures it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .accuracy import accuracy
from .drawing import draw_of_each_class
from .knn import knn_classify
from .linear_probe import fit_linear_probe

# Of the linear classifier: no class has images to spare to choose it by.
_L2 = 1e-2
_NEIGHBOURS = 20


def low_shot_accuracy(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    shots: int,
    seed: Sequence[int],
    classifier: str = 'knn',
    names: Sequence[str] | None = None,
) -> float:
    """Classify all test images by one draw of a few training images of each class.

    The protocol is that of AttMask (Kakogeorgiou et al., ECCV 2022, low-shot
    table): k-NN with temperature .07, of 1 neighbour for 1 image a class, else of 20,
    or of all images drawn if these are fewer. In its place a linear classifier
    can be fitted, see :func:`~amt_mm.evaluation.fit_linear_probe`, with a penalty
    of .01.

    Args:
        train_features: (N, D) features, on any device.
        train_labels: (N,) integer classes from 0, on the CPU.
        test_features: (M, D) features; all is computed on their device.
        test_labels: (M,) integer classes.
        shots: Images a class.
        seed: What the draw follows from: the same images for every encoder.
        classifier: ``'knn'`` or ``'linear'``.
        names: Names of all classes, for messages.

    Returns:
        Per cent of the test images.

    Raises:
        InputError: If a class has fewer images than ``shots``.
    """
    drawn = draw_of_each_class(train_labels, shots, seed, names)
    features = train_features[drawn.to(train_features.device)].to(test_features.device)
    labels = train_labels[drawn]
    if classifier == 'linear':
        # All classes, also one that only the test images show.
        classes = int(torch.maximum(labels.max(), test_labels.max().cpu())) + 1
        probe = fit_linear_probe(features, labels, l2=_L2, num_classes=classes)
        return accuracy(probe.predict(test_features), test_labels)
    k = 1 if shots == 1 else min(_NEIGHBOURS, len(drawn))
    return accuracy(knn_classify(features, labels, test_features, k), test_labels)
