"""KNNProbeHook: measure k-NN and linear accuracy during pre-training."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.runner import Runner
from torch.utils.data import Dataset, Subset

from amt_mm.checks import check_numbers
from amt_mm.datasets.train_and_test import check_train_and_test
from amt_mm.errors import InputError
from amt_mm.evaluation import accuracy, fit_linear_probe
from amt_mm.evaluation.checks import count_classes
from amt_mm.evaluation.dataset_features import (
    LabelledFeatures,
    dataset_labels,
    labelled_features,
)
from amt_mm.evaluation.dataset_knn import knn_accuracies
from amt_mm.evaluation.drawing import draw_evenly
from amt_mm.evaluation.shared_work import shared_numbers
from amt_mm.registry import DATASETS, HOOKS

from .probe_hook import ProbeHook


@HOOKS.register_module()
class KNNProbeHook(ProbeHook):
    """Measure the encoder's accuracy on a labelled subset every few epochs and at the end.

    Features of whole images, [CLS] and the mean of the patch tokens, are classified by k-NN with
    temperature .07, and on request by logistic regression. Accuracies are in the visualizer as
    ``knn/cls_top1_k20``, ``linear/cls_top1`` and so on.

    Example (``configs/_base_/hooks/knn_probe.py`` has the data sets for ImageNet)::

        default_hooks = dict(knn_probe=dict(
            type='amt_mm.KNNProbeHook', interval=5,
            train=_base_.probe.train, test=_base_.probe.test))

    Args:
        train: Config of the data set of neighbours: whole images with labels.
        test: Config of the data set that is classified.
        *args, **kwargs: See :class:`~amt_mm.hooks.probe_hook.ProbeHook`.
        ks: Numbers of neighbours. Defaults to 20 only, DINO's best.
        linear: Also fit a linear probe, with the penalty of 1e-3 of
            :func:`~amt_mm.evaluation.fit_linear_probe`: comparable within a run and between runs
            on the same images. Defaults to False: it may take longer than the encoding.
        max_train: Maximum number of training images, drawn evenly over classes; None takes all.
            Defaults to 10,000: with ``max_test``, about 1 % of an epoch of ImageNet.
        max_test: The same for the test images. Defaults to 5,000, with which the standard error of
            an accuracy of 50 % is .7 points.

    Raises:
        InputError: A number is out of range or a data set has no class labels; and see the parent.
    """

    title = 'k-NN'
    prefix = 'knn'

    def __init__(self, train: dict, test: dict, *args, ks: Sequence[int] = (20, ),
                 linear: bool = False, max_train: int | None = 10000,
                 max_test: int | None = 5000, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        check_numbers('KNNProbeHook: ks', ks)
        if not ks or min(ks) < 1:
            raise InputError(f'KNNProbeHook: ks={ks}: give at least one number, each 1 or more')
        for name, count in (('max_train', max_train), ('max_test', max_test)):
            if count is not None and count < 1:
                raise InputError(f'KNNProbeHook: {name}={count} must be at least 1, or None for '
                                 'all images')
        self.train = train
        self.test = test
        self.ks = tuple(ks)
        self.linear = linear
        self.max_train = max_train
        self.max_test = max_test

    def build(self) -> None:
        """Build both parts and check that they fit together."""
        self._train = self._subset('train', self.train, self.max_train)
        self._test = self._subset('test', self.test, self.max_test)
        check_train_and_test(self._train, self._test, 'KNNProbeHook')

    def measure(self, runner: Runner) -> dict[str, float]:
        """Return the accuracies in per cent."""
        device = next(runner.model.parameters()).device
        train, test = (self.encode(runner, part, labelled_features)
                       for part in (self._train, self._test))
        scalars = {}
        for pooling in train.features:
            found = knn_accuracies(train.features[pooling], train.labels, test.features[pooling],
                                   test.labels, self.ks, device=device)
            scalars.update({f'knn/{pooling}_{name}': value for name, value in found.items()})
        if self.linear:
            def reached(poolings: Sequence[str]) -> list[float]:
                return [_linear_accuracy(train, test, pooling, device) for pooling in poolings]

            found = shared_numbers(reached, list(train.features), device).tolist()
            scalars.update({f'linear/{pooling}_top1': value
                            for pooling, value in zip(train.features, found, strict=True)})
        return scalars

    def describe(self, scalars: dict[str, float]) -> tuple[str, str]:
        """Return the top-1 accuracies and the numbers of images."""
        top1 = ', '.join(f'{name.removeprefix("knn/")} {value:.2f} %'
                         for name, value in scalars.items() if 'top1' in name)
        return top1, f'{len(self._train)} training, {len(self._test)} test images'

    def _subset(self, part: str, cfg: dict, count: int | None) -> Dataset:
        dataset = DATASETS.build(cfg)
        labels = dataset_labels(dataset)
        if labels is None:
            raise InputError(f'KNNProbeHook: `{part}` ({type(dataset).__name__}) has images '
                             'without class labels; give one whose images all have a class')
        if count is None or count >= len(labels):
            return dataset
        return Subset(dataset, draw_evenly(labels, count, [self.seed]).tolist())


def _linear_accuracy(train: LabelledFeatures, test: LabelledFeatures, pooling: str,
                     device: torch.device) -> float:
    probe = fit_linear_probe(train.features[pooling].to(device), train.labels,
                             num_classes=count_classes(train.labels, test.labels))
    return accuracy(probe.predict(test.features[pooling].to(device)), test.labels)
