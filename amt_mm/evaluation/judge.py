"""Evaluate an encoder on the images that its config names under ``probe``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch
from mmengine.config import Config
from mmpretrain.registry import DATASETS
from torch import Tensor, nn

from amt_mm.datasets.train_and_test import check_train_and_test, files_of_images
from amt_mm.errors import InputError
from amt_mm.saliency import AttentionTap

from .accuracy import accuracy
from .attention_on_object import attention_on_object
from .checks import count_classes
from .dataset_features import (
    LabelledFeatures,
    dataset_labels,
    labelled_features,
    loader_in_order,
)
from .drawing import held_out, number_of_file
from .knn import knn_classify
from .linear_probe import fit_linear_probe, select_l2

# Penalties of the linear probe, selected on held-out training images: with a few thousand images
# the best one differs between encoders.
_L2 = (1e-4, 1e-3, 1e-2, 1e-1)
_L2_OF_FEW = 1e-2  # if no class has five images, so that none can be held out
_BATCH_SIZE = 256


def judge(model: nn.Module, cfg: Config, k: int = 20) -> dict[str, float]:
    """Measure a frozen encoder.

    Args:
        model: A model with ``data_preprocessor``, ``backbone`` and an ``extract_feat`` that
            returns all tokens.
        cfg: Config with the data sets ``probe.train`` and ``probe.test`` of whole images and,
            optionally, ``probe.folds`` for cross-validation over both.
        k: Number of neighbours of k-NN.

    Returns:
        Percentages. With labels, ``knn`` (on mean-pooled tokens), ``linear_cls`` and
        ``linear_mean``, and ``test_images``, the number of images behind them; with
        ``probe.folds`` also the same with the suffix ``_cv``, where each image of both parts is
        classified once by what was fitted to the other folds, because sampling noise dominates
        with few test images. With masks in the test set, too,
        ``attention_on_object`` (share of the last block's [CLS] attention to patches that falls on
        the object, mean over heads, not rescaled to [0, 1]) and ``object_area`` (what uniform
        attention would reach).

    Raises:
        InputError: The parts have different classes or share images, only one part has labels, or
            ``probe.folds`` is out of range.
    """
    train, test = DATASETS.build(cfg.probe.train), DATASETS.build(cfg.probe.test)
    result: dict[str, float] = {}
    labels = [dataset_labels(part) for part in (train, test)]
    labelled = [part is not None for part in labels]
    if any(labelled) != all(labelled):
        raise InputError(f'probe.{"test" if labelled[0] else "train"} has images without class '
                         'labels, the other part has labels: label both or neither')
    folds = cfg.probe.get('folds')
    if folds is not None and not any(labelled):
        raise InputError('probe.folds needs images with class labels')
    if not all(labelled):
        return result
    check_train_and_test(train, test, 'probe')
    files = files_of_images(train, test)
    if folds is not None:
        _check_folds(torch.cat(labels), files, folds)
    result['test_images'] = len(test)
    has_masks = hasattr(test, 'object_mask')
    features = [labelled_features(model, loader_in_order(train, _BATCH_SIZE))]
    with _attention_of(model.backbone) if has_masks else nullcontext([]) as maps:
        features.append(labelled_features(model, loader_in_order(test, _BATCH_SIZE)))
    result.update(measure_features(*features, k, None if files is None else files[:len(train)]))
    if folds is not None:
        result.update(_cross_validate(_concatenate(*features), files, folds, k))
    if has_masks:
        masks = torch.from_numpy(np.stack([test.object_mask(i) for i in range(len(test))]))
        summary = attention_on_object(
            torch.cat(maps).unflatten(1, model.backbone.grid), masks).summary()
        result.update(attention_on_object=100 * summary['share'],
                      object_area=100 * summary['area'])
    return result


@contextmanager
def _attention_of(vit: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the [CLS] attention of each pass, ``(B, N)``, mean over heads."""
    maps: list[Tensor] = []
    with AttentionTap(vit) as tap:
        handle = tap.block.register_forward_hook(
            lambda *_: maps.append(tap.cls_attention().mean(dim=1)))
        try:
            yield maps
        finally:
            handle.remove()


def _concatenate(*parts: LabelledFeatures) -> LabelledFeatures:
    features = {name: torch.cat([part.features[name] for part in parts])
                for name in parts[0].features}
    return LabelledFeatures(features, torch.cat([part.labels for part in parts]), parts[0].names)


def _check_folds(labels: Tensor, files: Tensor | None, folds: int) -> None:
    largest = int(number_of_file(labels, files).max()) + 1
    if type(folds) is not int or not 2 <= folds <= largest:
        raise InputError(f'probe.folds={folds!r} must be an integer from 2 to the size of the '
                         f'largest class, {largest}{"" if files is None else " files"}')


def _cross_validate(data: LabelledFeatures, files: Tensor | None, folds: int, k: int
                    ) -> dict[str, float]:
    """Return ``<measure>_cv`` over all images; each class is spread evenly over the folds."""
    fold = number_of_file(data.labels, files) % folds
    total: dict[str, float] = {}
    for i in range(folds):
        rest, part = data.subset(fold != i), data.subset(fold == i)
        rest_files = None if files is None else files[fold != i]
        for name, value in measure_features(rest, part, k, rest_files).items():
            share = value * len(part.labels) / len(data.labels)
            total[f'{name}_cv'] = total.get(f'{name}_cv', 0) + share
    return total


def measure_features(train: LabelledFeatures, test: LabelledFeatures, k: int = 20,
                     files: Tensor | None = None) -> dict[str, float]:
    """Classify test images by k-NN and linear probes that know the training images.

    Args:
        train: Mean-pooled features (``'mean'``), and any others.
        test: The same of other images.
        k: Number of neighbours.
        files: Of the training images, see :func:`~amt_mm.evaluation.drawing.number_of_file`.

    Returns:
        Percentages: ``knn``, on mean-pooled features, and ``linear_<pooling>`` for each.
    """
    train_labels, test_labels = train.labels, test.labels
    train, test = train.features, test.features
    predicted = knn_classify(train['mean'], train_labels, test['mean'], k=k)
    result = {'knn': accuracy(predicted, test_labels)}
    classes = count_classes(train_labels, test_labels)
    for name in train:
        l2 = _L2_OF_FEW
        if held_out(train_labels, files).any():
            l2 = select_l2(train[name], train_labels, _L2, classes, files)
        probe = fit_linear_probe(train[name], train_labels, l2=l2, num_classes=classes)
        result[f'linear_{name}'] = accuracy(probe.predict(test[name]), test_labels)
    return result
