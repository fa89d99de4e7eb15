"""A part of a labelled data set: a list of names, or a share of each class."""

from __future__ import annotations

import os.path as osp
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from mmpretrain.datasets import BaseDataset

from amt_mm.errors import InputError
from amt_mm.registry import DATASETS


@DATASETS.register_module()
def few_labels(dataset: dict, share: float | None = None, names: str | None = None, seed: int = 0
               ) -> BaseDataset:
    """Build a data set and keep a part of its images, for semi-supervised evaluation.

    Args:
        dataset: Config of a data set with one class label per image.
        share: Keep this share of each class, rounded to whole images but at least one, drawn at
            random. With one seed, a smaller share is a part of a larger one.
        names: Keep the images that this text file names, one per line, such as SimCLR's lists of 1
            % and 10 % of ImageNet: file names, or paths below the data set's folder.
        seed: Seed of the draw, whatever the seed of the run. Defaults to 0.

    Returns:
        The data set, shortened.

    Raises:
        InputError: Not exactly one of ``share`` and ``names`` is given, the share is out of range,
            the data set lists no images, a name fits no image or several, or an image has no name
            or class label.
    """
    if (share is None) == (names is None):
        raise InputError('few_labels needs either share, such as .01, or names, a text file')
    if share is not None and not 0 < share <= 1:
        raise InputError(f'few_labels.share={share} must be above 0 and at most 1')
    built = DATASETS.build(dataset)
    if not isinstance(built, BaseDataset):
        raise InputError('few_labels takes a part of one data set that lists its images, such as '
                         f'ImageFolder, and {type(built).__name__} is none')
    infos = [built.get_data_info(index) for index in range(len(built))]
    # CIFAR's images have neither names nor a folder.
    kept = (_drawn(infos, share, seed) if names is None
            else _named(infos, built.data_prefix.get('img_path', ''), names))
    built.get_subset_(kept)
    return built


def _drawn(infos: Sequence[dict], share: float, seed: int) -> list[int]:
    classes = defaultdict(list)
    for index, info in enumerate(infos):
        if 'gt_label' not in info:
            raise InputError(f'{info.get("img_path", "an image")}: has no class label, of which '
                             'few_labels.share takes a share')
        classes[int(info['gt_label'])].append(index)
    # Each class on its own, so that an image more in one changes no other.
    return sorted(int(index) for label, members in classes.items()
                  for index in np.random.default_rng([seed, label]).permutation(members)
                  [:max(1, round(share * len(members)))])


def _named(infos: Sequence[dict], folder: str, file: str) -> list[int]:
    places = defaultdict(list)
    for index, info in enumerate(infos):
        if 'img_path' not in info:
            raise InputError(f'{file}: images of this data set have no names: set few_labels.share '
                             'in place of few_labels.names')
        path = osp.relpath(info['img_path'], folder)
        for name in {path, osp.basename(path)}:
            places[name].append(index)
    try:
        # Windows marks UTF-8 by three bytes; names of files may be any bytes.
        with open(osp.expanduser(file), encoding='utf-8-sig', errors='surrogateescape') as lines:
            wanted = list(filter(None, map(str.strip, lines)))
    except OSError as error:
        raise InputError(f'{file}: cannot be read ({error.strerror}): set few_labels.names to the '
                         'list of names') from error
    for name in wanted:
        if len(places[name]) != 1:
            raise InputError(f'{file}: {name} is the name of {len(places[name])} images of '
                             f'{folder}; one is needed')
    if not wanted:
        raise InputError(f'{file}: names no image')
    return sorted({places[name][0] for name in wanted})
