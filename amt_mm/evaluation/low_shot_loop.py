"""LowShotTestLoop: accuracy from a few labelled images per class, as AttMask measures it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from mmengine.dist import is_main_process
from torch import Tensor
from tqdm import tqdm

from amt_mm.checks import check_choice, check_numbers
from amt_mm.datasets.train_and_test import class_names
from amt_mm.errors import InputError
from amt_mm.registry import LOOPS

from .accuracy import accuracy
from .checks import count_classes
from .dataset_features import LabelledFeatures, dataset_labels
from .drawing import check_enough, draw_of_each_class
from .feature_loop import FeatureTestLoop
from .knn import knn_classify
from .linear_probe import fit_linear_probe
from .shared_work import shared_numbers

# Penalty of the linear classifier: no class has images to spare for selecting one.
_L2 = 1e-2
_NEIGHBOURS = 20


@LOOPS.register_module()
class LowShotTestLoop(FeatureTestLoop):
    """Classify the test images from 1, 5, 10 and 20 training images per class.

    It reports ``lowshot/top1_5shot`` and so on, the mean over the draws in per cent, and with two
    draws or more ``lowshot/top1_5shot_std``, their standard deviation (with n - 1). See
    :func:`low_shot_accuracy`.

    Args:
        *args, **kwargs: See :class:`~amt_mm.evaluation.feature_loop.FeatureTestLoop`.
        shots: Numbers of images per class.
        draws: Draws of training images for each. Defaults to 5.
        classifier: ``'knn'`` or ``'linear'``. Defaults to ``'knn'``, as in AttMask.
        seed: Seed of the draws, which depend only on it and the labels: they are the same for all
            checkpoints, whatever the seed of the run. Defaults to 0.

    Raises:
        InputError: A number is not positive, the classifier is unknown, or a class has fewer
            images than ``shots``; and see the parent.
    """

    prefix = 'lowshot'

    def __init__(self, *args, shots: Sequence[int] = (1, 5, 10, 20), draws: int = 5,
                 classifier: str = 'knn', seed: int = 0, **kwargs) -> None:
        check_numbers('test_cfg.shots', shots)
        if not shots or min(shots) < 1 or draws < 1:
            raise InputError(f'test_cfg.shots={shots}, draws={draws}: all must be 1 or more')
        check_choice('test_cfg.classifier', classifier, ('knn', 'linear'))
        super().__init__(*args, **kwargs)
        self.shots = tuple(shots)
        self.draws = draws
        self.classifier = classifier
        self.seed = seed
        train = self.train_dataloader.dataset
        labels = dataset_labels(train)
        if labels is not None:  # known before anything is encoded
            check_enough(labels, max(self.shots), class_names(train))

    def measure(self, train: LabelledFeatures, test: LabelledFeatures) -> dict[str, float]:
        """Return mean and standard deviation for each number of images per class."""
        # Here, so that all processes stop and not only the one that draws.
        check_enough(train.labels, max(self.shots), train.names)
        queries = test.features[self.pooling].to(self.device)

        def reached(tasks: Sequence[tuple[int, int]]) -> list[float]:
            return [low_shot_accuracy(
                train.features[self.pooling], train.labels, queries, test.labels, shots,
                (self.seed, draw), self.classifier, train.names)
                for shots, draw in tqdm(tasks, desc='draws', leave=False,
                                        disable=None if is_main_process() else True)]

        tasks = list(itertools.product(self.shots, range(self.draws)))
        found = shared_numbers(reached, tasks, self.device).view(-1, self.draws)
        result = {}
        for shots, accuracies in zip(self.shots, found, strict=True):
            result[f'top1_{shots}shot'] = float(accuracies.mean())
            if self.draws > 1:
                result[f'top1_{shots}shot_std'] = float(accuracies.std())
        return result


def low_shot_accuracy(train_features: Tensor, train_labels: Tensor, test_features: Tensor,
                      test_labels: Tensor, shots: int, seed: Sequence[int],
                      classifier: str = 'knn', names: Sequence[str] | None = None) -> float:
    """Classify all test images by one draw of a few training images per class.

    The protocol of AttMask (Kakogeorgiou et al., ECCV 2022, low-shot table): k-NN with temperature
    .07, with 1 neighbour for 1 image per class, otherwise 20 (or all images drawn, if fewer).

    Args:
        train_features: ``(N, D)``, on any device.
        train_labels: ``(N,)`` integer classes from 0, on the CPU.
        test_features: ``(M, D)``; the computation runs on their device.
        test_labels: ``(M,)`` integer classes.
        shots: Images per class.
        seed: Determines the draw: the same images for every encoder.
        classifier: ``'knn'``, or ``'linear'`` for
            :func:`~amt_mm.evaluation.fit_linear_probe` with a penalty of .01.
        names: Names of all classes, for messages.

    Returns:
        Percentage of the test images.

    Raises:
        InputError: A class has fewer images than ``shots``.
    """
    drawn = draw_of_each_class(train_labels, shots, seed, names)
    features = train_features[drawn.to(train_features.device)].to(test_features.device)
    labels = train_labels[drawn]
    if classifier == 'linear':
        probe = fit_linear_probe(features, labels, l2=_L2,
                                 num_classes=count_classes(labels, test_labels))
        return accuracy(probe.predict(test_features), test_labels)
    k = 1 if shots == 1 else min(_NEIGHBOURS, len(drawn))
    return accuracy(knn_classify(features, labels, test_features, k), test_labels)
