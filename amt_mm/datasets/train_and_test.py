"""What training and test images must have in common, their classes, and what not: images."""

from __future__ import annotations

import os
from collections.abc import Iterator

from mmengine.dataset import ConcatDataset
from torch.utils.data import Dataset, Subset

from amt_mm.errors import InputError

from .packed import PackedImages

_SHOWN = 3


def class_names(dataset: Dataset) -> tuple[str, ...] | None:
    """Names of a data set's classes, in the order of their labels, where it tells them.

    Args:
        dataset: A data set, or a part of one.
    """
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    names = getattr(dataset, 'metainfo', {}).get('classes')
    return None if names is None else tuple(names)


def check_train_and_test(train: Dataset, test: Dataset, where: str) -> None:
    """Refuse to measure by labels that mean different classes, or on images learnt from.

    Labels of folders are numbers of their sorted names: with a folder fewer among the test
    images all behind it are counted wrong, without a word. Images are told apart by their
    paths; those in memory, which have none, are not compared.

    Args:
        train: What is learnt from.
        test: What is judged by.
        where: Of whom, for the message.

    Raises:
        InputError: Both name their classes, and not the same or not in the same order; or an
            image is in both.
    """
    _check_classes(class_names(train), class_names(test), where)
    _check_images(train, test, where)


def _check_classes(ours: tuple[str, ...] | None, theirs: tuple[str, ...] | None, where: str
                   ) -> None:
    if None in (ours, theirs) or ours == theirs:
        return
    way_out = ('if they are the same by other names, give one of the data sets '
               'metainfo=dict(classes=[...])')
    if sorted(ours) == sorted(theirs):
        raise InputError(f'{where}: training and test images have the same classes in another '
                         f'order; {way_out}')
    apart = [f'{", ".join(names[:_SHOWN])}{", ..." * (len(names) > _SHOWN)} only among the '
             f'{part} images'
             for part, names in (('training', [name for name in ours if name not in theirs]),
                                 ('test', [name for name in theirs if name not in ours])) if names]
    raise InputError(f'{where}: training and test images are of different classes ('
                     f'{"; ".join(apart)}): labels would be mistaken for each other; make their '
                     f'class folders the same, or, {way_out}')


def _check_images(train: Dataset, test: Dataset, where: str) -> None:
    # Naming a million images takes half a minute: not where folders lie apart.
    if not any(_one_holds_the_other(a, b) for a in _folders(train) for b in _folders(test)):
        return
    learnt = {os.path.abspath(path) for path in _paths(train)}
    shared = [path for path in _paths(test) if os.path.abspath(path) in learnt]
    if shared:
        raise InputError(f'{where}: {len(shared)} of the {len(test)} test images are training '
                         f'images, too, such as {shared[0]}: give both parts their `split`, or a '
                         'data_prefix each')


def _folders(dataset: Dataset) -> Iterator[str]:
    """Folders that hold the images of a data set."""
    if isinstance(dataset, Subset):
        yield from _folders(dataset.dataset)
    elif isinstance(dataset, ConcatDataset):
        for child in dataset.datasets:
            yield from _folders(child)
    else:
        yield os.path.abspath(_root(dataset) or getattr(dataset, 'img_prefix', None) or '')


def _one_holds_the_other(one: str, other: str) -> bool:
    return os.path.commonpath([one, other]) in (one, other)


def _paths(dataset: Dataset) -> Iterator[str]:
    if isinstance(dataset, ConcatDataset):
        for child in dataset.datasets:
            yield from _paths(child)
        return
    whole, indices = ((dataset.dataset, dataset.indices) if isinstance(dataset, Subset)
                      else (dataset, range(len(dataset))))
    for index in indices:
        info = whole.get_data_info(int(index))
        if 'img_path' in info:
            yield os.path.join(_root(whole), info['img_path'])


def _root(dataset: Dataset) -> str:
    """What the names of images count from: a packed file is a folder of its own."""
    return str(dataset.path) if isinstance(dataset, PackedImages) else ''
