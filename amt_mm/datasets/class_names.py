"""Names of a data set's classes, and whether two data sets mean the same by a label."""

from __future__ import annotations

from torch.utils.data import Dataset, Subset

from amt_mm.errors import InputError

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


def check_same_classes(train: Dataset, test: Dataset, where: str) -> None:
    """Refuse to measure by labels that mean different classes.

    Labels of folders are numbers of their sorted names: with a folder fewer among the test
    images all behind it are counted wrong, without a word.

    Args:
        train: What is learnt from.
        test: What is judged by.
        where: Of whom, for the message.

    Raises:
        InputError: Both name their classes, and not the same or not in the same order.
    """
    ours, theirs = class_names(train), class_names(test)
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
