"""Judge an encoder on the labelled images that its config names under ``probe``."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmpretrain.registry import DATASETS
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from amt_mm.saliency import cls_attention

from .accuracy import accuracy
from .attention_on_object import attention_on_object
from .features import extract_features
from .knn import knn_classify
from .linear_probe import fit_linear_probe

# Strengths of the penalty that the linear probe chooses among, on a held-out part of the
# training images: with some thousands of images the best one differs between encoders.
_L2 = (1e-4, 1e-3, 1e-2, 1e-1)
_L2_OF_FEW = 1e-2  # where no class has five images to choose by


def judge(model: nn.Module, cfg: Config, k: int = 20) -> dict[str, float]:
    """Measure a frozen encoder.

    Args:
        model: A model with ``data_preprocessor``, ``backbone`` and
            ``extract_feat`` giving all tokens.
        cfg: Config with ``probe.train`` and ``probe.test``, data sets of whole images.
        k: Voters of k-NN.

    Returns:
        Per cent: ``knn`` (on mean-pooled tokens), ``linear_cls``, ``linear_mean``
        where the images have labels; ``attention_on_object`` (share of the last
        block's [CLS] attention to patches that falls on the object, mean over heads,
        as it is and not stretched to [0, 1]) and ``object_area`` (what even attention
        would reach) where the test set has masks.
    """
    train, test = DATASETS.build(cfg.probe.train), DATASETS.build(cfg.probe.test)
    result: dict[str, float] = {}
    labels = _labels(train), _labels(test)
    if labels[0] is not None and labels[1] is not None:
        result.update(_probe(_features(model, train), labels[0], _features(model, test),
                             labels[1], k))
    if hasattr(test, 'object_mask'):
        maps = torch.cat([cls_attention(model.backbone, images).mean(dim=1)
                          for images in _batches(model, test)])
        masks = torch.from_numpy(np.stack([test.object_mask(i) for i in range(len(test))]))
        summary = attention_on_object(maps.unflatten(1, model.backbone.grid), masks).summary()
        result.update(attention_on_object=100 * summary['share'],
                      object_area=100 * summary['area'])
    return result


def _probe(train: dict[str, Tensor], train_labels: Tensor, test: dict[str, Tensor],
           test_labels: Tensor, k: int) -> dict[str, float]:
    predicted = knn_classify(train['mean'], train_labels, test['mean'], k=k)
    result = {'knn': accuracy(predicted, test_labels)}
    # Every fifth training image of a class chooses the penalty; all of them are fitted with it.
    held_out = _number_in_class(train_labels) % 5 == 4
    classes = int(max(train_labels.max(), test_labels.max())) + 1
    for name in ('cls', 'mean'):
        l2 = _L2_OF_FEW
        if held_out.any():
            l2 = fit_linear_probe(
                train[name][~held_out], train_labels[~held_out], l2=_L2,
                val_features=train[name][held_out], val_labels=train_labels[held_out],
                num_classes=classes).l2
        probe = fit_linear_probe(train[name], train_labels, l2=l2, num_classes=classes)
        result[f'linear_{name}'] = accuracy(probe.predict(test[name]), test_labels)
    return result


def _number_in_class(labels: Tensor) -> Tensor:
    """Count each image within its class, from 0, in the order of the data set."""
    order = labels.argsort(stable=True)
    first = torch.searchsorted(labels[order], labels)  # where its class begins
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    return place - first


def _labels(dataset: Dataset) -> Tensor | None:
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    if any('gt_label' not in info for info in infos):
        return None
    return torch.tensor([int(info['gt_label']) for info in infos])


def _features(model: nn.Module, dataset: Dataset) -> dict[str, Tensor]:
    return extract_features(model, _batches(model, dataset),
                            forward=lambda images: model.extract_feat(images)[-1])


def _batches(model: nn.Module, dataset: Dataset) -> Iterator[Tensor]:
    for batch in DataLoader(dataset, batch_size=256, collate_fn=default_collate):
        yield model.data_preprocessor(batch)['inputs']
