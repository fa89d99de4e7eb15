"""LinearSweepTestLoop: logistic regression at the best of several penalties."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from amt_mm.checks import check_numbers
from amt_mm.datasets.train_and_test import files_of_images
from amt_mm.errors import InputError
from amt_mm.registry import LOOPS

from .accuracy import accuracy
from .checks import count_classes
from .dataset_features import LabelledFeatures, dataset_labels
from .drawing import check_held_out
from .feature_loop import ImageFeatureTestLoop
from .kept import keep_predictions
from .linear_probe import fit_linear_probe, select_l2
from .shared_work import shared_numbers

# What is classified -> the features that are concatenated.
_FEATURES = {'cls': ('cls', ), 'mean': ('mean', ), 'both': ('cls', 'mean')}


@LOOPS.register_module()
class LinearSweepTestLoop(ImageFeatureTestLoop):
    """Classify by [CLS], by the mean of the patch tokens, and by both concatenated.

    Features of the training images are standardised, as the batch norm without affine parameters
    of MAE's linear probe does, and fitted to convergence by
    :func:`~amt_mm.evaluation.fit_linear_probe`, which replaces learning rates and schedules by one
    penalty. A held-out fifth of the training images selects it, then all are fitted; the test
    images only measure. It reports ``linear_sweep/cls_top1``, ``mean_top1`` and ``both_top1`` in
    per cent, and the selected penalties, ``cls_l2`` and so on.

    The fit holds several copies of all training features and of their logits in float64, on the
    device of the model: for ImageNet-1K, a GPU needs tens of gigabytes.

    Args:
        *args, **kwargs: See :class:`~amt_mm.evaluation.feature_loop.ImageFeatureTestLoop`.
        l2: Two penalties or more. The default spans 1e-5 to 1: the best grows as images get fewer.

    Raises:
        InputError: A penalty is not above 0, there is only one, or no class has five training
            images; and see the parent.
    """

    prefix = 'linear_sweep'

    def __init__(self, *args, l2: Sequence[float] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0), **kwargs
                 ) -> None:
        check_numbers('test_cfg.l2', l2)
        if len(l2) < 2 or min(l2) <= 0:
            raise InputError(f'test_cfg.l2={l2}: give two penalties or more, each above 0')
        super().__init__(*args, **kwargs)
        self.l2 = tuple(l2)
        self.files = files_of_images(self.train_dataloader.dataset)
        labels = dataset_labels(self.train_dataloader.dataset)
        if labels is not None:  # known before anything is encoded
            check_held_out(labels, self.files, 'the penalty of the linear probe')

    def measure(self, train: LabelledFeatures, test: LabelledFeatures) -> dict[str, float]:
        """Select a penalty for each kind of features, then return its accuracy."""
        classes = count_classes(train.labels, test.labels)
        names = [name for name, parts in _FEATURES.items() if set(parts) <= set(train.features)]

        def selected(some: Sequence[str]) -> list[float]:
            return [select_l2(self._joined(train, name), train.labels, self.l2, classes, self.files)
                    for name in some]

        chosen = dict(zip(names, shared_numbers(selected, names, self.device).tolist(),
                          strict=True))

        def reached(some: Sequence[str]) -> list[float]:
            accuracies = []
            for name in some:
                answers = fit_linear_probe(
                    self._joined(train, name), train.labels, chosen[name], num_classes=classes
                ).predict(self._joined(test, name))
                keep_predictions(self.runner, f'{self.prefix}/{name}_top1', answers, test.labels,
                                 test.names)
                accuracies.append(accuracy(answers, test.labels))
            return accuracies

        found = shared_numbers(reached, names, self.device).tolist()
        for name, l2 in chosen.items():
            if l2 in (min(self.l2), max(self.l2)):
                self.runner.logger.warning(f'{name}: the best penalty, {l2:g}, is at the end of '
                                           'the range; extend test_cfg.l2')
        return {**{f'{name}_top1': top1 for name, top1 in zip(names, found, strict=True)},
                **{f'{name}_l2': l2 for name, l2 in chosen.items()}}

    def _joined(self, part: LabelledFeatures, name: str) -> Tensor:
        return torch.cat([part.features[pooling] for pooling in _FEATURES[name]], dim=1
                         ).to(self.device)
