"""Training and test set must share their classes, but no images."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from mmengine.dataset import ConcatDataset
from torch import Tensor
from torch.utils.data import Dataset, Subset

from amt_mm.errors import InputError

from .frames import split_frame
from .packed import PackedImages

_SHOWN = 3


def class_names(dataset: Dataset) -> tuple[str, ...] | None:
    """Return the class names of a data set or subset in label order, None if unknown."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    names = getattr(dataset, 'metainfo', {}).get('classes')
    return None if names is None else tuple(names)


def files_of_images(*datasets: Dataset) -> Tensor | None:
    """Number the file of each image of some data sets, ``(n,)``; None if no two share a file.

    Frames of one file share it. Images in memory have none.
    """
    numbers: dict[str, int] = {}
    files = [numbers.setdefault(path, len(numbers)) for dataset in datasets
             for path in _paths(dataset)]
    known = len(files) == sum(map(len, datasets))
    return torch.tensor(files) if known and len(numbers) < len(files) else None


def check_train_and_test(train: Dataset, test: Dataset, where: str) -> None:
    """Refuse to evaluate with labels of different classes, or on training images.

    Labels of class folders are places of their sorted names: without one of them in the test
    set all later ones would be silently wrong. A class without a training image would make each
    of its test images an error of the encoder. Images are identified by path; those in memory
    are not compared.

    Args:
        train: Training set.
        test: Test set.
        where: Prefix of the message.

    Raises:
        InputError: Both sets name their classes, but not the same or not in the same order, they
            share an image, or a class of the test images has no training image.
    """
    _check_classes(class_names(train), class_names(test), where)
    _check_images(train, test, where)
    _check_trained(train, test, where)


def _check_classes(ours: tuple[str, ...] | None, theirs: tuple[str, ...] | None, where: str
                   ) -> None:
    if None in (ours, theirs) or ours == theirs:
        return
    advice = ('if only their names differ, set metainfo=dict(classes=[...]) in one of the data '
              'sets')
    if sorted(ours) == sorted(theirs):
        raise InputError(f'{where}: training and test set have the same classes in another '
                         f'order; {advice}')
    differences = [
        f'{", ".join(names[:_SHOWN])}{", ..." * (len(names) > _SHOWN)} only in the {part} set'
        for part, names in (('training', [name for name in ours if name not in theirs]),
                            ('test', [name for name in theirs if name not in ours])) if names]
    raise InputError(f'{where}: training and test set have different classes '
                     f'({"; ".join(differences)}), so their labels do not match; use the same '
                     f'class folders, or, {advice}')


def _check_trained(train: Dataset, test: Dataset, where: str) -> None:
    """Splits of one folder share their classes, also one that a split has no image of."""
    missing = set(_labels(test))
    if None in missing:
        return
    # In random order, all classes appear among the first of a million images.
    for label in _labels(train, np.random.RandomState(0)):
        missing.discard(label)
        if not missing or label is None:
            return
    names = class_names(test)
    shown = [str(label if names is None else names[label]) for label in sorted(missing)]
    raise InputError(f'{where}: {", ".join(shown[:_SHOWN])}{", ..." * (len(shown) > _SHOWN)} '
                     'has test images but no training image, so it cannot be recognised: add '
                     'training images of each class, or leave its test images out; subfolders that '
                     'are no classes: amt pretrain FOLDER --unlabelled')


def _labels(dataset: Dataset, order: np.random.RandomState | None = None
            ) -> Iterator[int | None]:
    """Yield the class of each image, None where it has not exactly one."""
    whole, indices = _whole(dataset)
    for index in indices if order is None else order.permutation(indices):
        label = whole.get_data_info(int(index)).get('gt_label')
        yield None if label is None or np.size(label) != 1 else int(label)


def _check_images(train: Dataset, test: Dataset, where: str) -> None:
    # Listing a million images takes half a minute: skip it if the folders are disjoint.
    pairs = itertools.product(_folders(train), _folders(test))
    if not any(os.path.commonpath(pair) in pair for pair in pairs):
        return
    trained = {os.path.abspath(path) for path in _paths(train)}
    shared = [path for path in _paths(test) if os.path.abspath(path) in trained]
    if shared:
        raise InputError(f'{where}: {len(shared)} of the {len(test)} test images are also '
                         f'training images, such as {shared[0]}: set `split` or data_prefix of '
                         'both')


def _folders(dataset: Dataset) -> Iterator[str]:
    """Yield the folders that contain the images of a data set."""
    if isinstance(dataset, Subset):
        yield from _folders(dataset.dataset)
    elif isinstance(dataset, ConcatDataset):
        for child in dataset.datasets:
            yield from _folders(child)
    else:
        yield os.path.abspath(_root(dataset) or getattr(dataset, 'img_prefix', None) or '')


def _paths(dataset: Dataset) -> Iterator[str]:
    if isinstance(dataset, ConcatDataset):
        for child in dataset.datasets:
            yield from _paths(child)
        return
    whole, indices = _whole(dataset)
    for index in indices:
        info = whole.get_data_info(int(index))
        if 'img_path' in info:
            # Frames of one file are nearly the same.
            yield os.path.join(_root(whole), split_frame(info['img_path'])[0])


def _whole(dataset: Dataset) -> tuple[Dataset, Sequence[int]]:
    """Return a data set and the indices of its samples that a subset has."""
    if isinstance(dataset, Subset):
        return dataset.dataset, dataset.indices
    return dataset, range(len(dataset))


def _root(dataset: Dataset) -> str:
    """Return what image names are relative to: a packed file acts as a folder."""
    return str(dataset.path) if isinstance(dataset, PackedImages) else ''
