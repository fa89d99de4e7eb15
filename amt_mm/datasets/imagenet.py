"""ImageNet-1K, with one line where something of it is missing."""

from __future__ import annotations

import os.path as osp

from mmpretrain.datasets import ImageNet as _ImageNet
from mmpretrain.datasets.custom import find_folders

from amt_mm.errors import InputError
from amt_mm.registry import DATASETS

from .download import download_command


@DATASETS.register_module()
class ImageNet(_ImageNet):
    """ImageNet-1K in one folder a class, or in one folder with a list of labels.

    ::

        data_root/train/<wnid>/*.JPEG
        data_root/val/<wnid>/*.JPEG        or val/*.JPEG with meta/val.txt

    Where ``meta/<split>.txt`` is there, it decides (lines of a path and a
    label from 0). Else labels are the places of the sorted WordNet ids.

    Args:
        data_root: Folder that holds ``train`` and ``val``.
        split: ``'train'``, ``'val'`` or ``'test'`` (without labels). Defaults to
            '': by ``data_prefix`` and ``ann_file``.
        first_of_class: Take the first so many files of each class alone; 260 are a
            fifth of ImageNet, as AttMask takes it (ECCV 2022, sec. 4.1). Defaults to
            None: all.
        **kwargs: See :class:`mmpretrain.datasets.ImageNet`. A part of the classes
            is taken with as many names by ``classes=[...]``.

    Raises:
        InputError: A folder is missing, holds no image or not as many class
            folders as there are classes, or a line of the list is malformed.
    """

    def __init__(self, data_root: str = '', split: str = '', first_of_class: int | None = None,
                 **kwargs) -> None:
        if first_of_class is not None and first_of_class < 1:
            raise InputError(f'first_of_class={first_of_class} must be at least 1')
        self.first_of_class = first_of_class
        if split not in ('', 'train', 'val', 'test'):
            raise InputError(f"split={split!r}: give 'train', 'val' or 'test'.")
        if not (data_root or kwargs.get('data_prefix')):
            raise InputError('data_root is empty: give the folder that holds train and val.')
        super().__init__(data_root=osp.expanduser(data_root), split=split, **kwargs)

    def load_data_list(self) -> list[dict]:
        """List the paths and labels of the split's images."""
        if not osp.isdir(self.img_prefix):
            raise InputError(
                f'{self.img_prefix}: there is no such folder; ImageNet needs an account, and its '
                'archives are unpacked here by: '
                f'{download_command("imagenet", self.data_root, " --archive FILE FILE FILE")}')
        if self.ann_file:
            self._check_list()
        elif self.with_label:
            self._check_folders()
        try:
            samples = super().load_data_list()
        except RuntimeError as error:
            raise InputError(f'{self.img_prefix}: holds no image') from error
        return samples if self.first_of_class is None else self._first(samples)

    def _first(self, samples: list[dict]) -> list[dict]:
        if not samples or 'gt_label' not in samples[0]:
            raise InputError(f'{self.img_prefix}: first_of_class needs class labels')
        taken = [0] * len(self.CLASSES)
        first = []
        for sample in sorted(samples, key=lambda each: each['img_path']):
            taken[sample['gt_label']] += 1
            if taken[sample['gt_label']] <= self.first_of_class:
                first.append(sample)
        return first

    def _check_list(self) -> None:
        if not osp.isfile(self.ann_file):
            raise InputError(f'ann_file {self.ann_file}: there is no such file')
        if not self.with_label:
            return
        with open(self.ann_file, encoding='utf-8') as file:
            for number, line in enumerate(file, 1):
                name, _, label = line.strip().rpartition(' ')
                if not name or not label.isdecimal() or int(label) >= len(self.CLASSES):
                    raise InputError(f'{self.ann_file}:{number}: {line.strip()!r} is not a path '
                                     f'and a label below {len(self.CLASSES)}')

    def _check_folders(self) -> None:
        found = len(find_folders(self.img_prefix)[0])
        if found == len(self.CLASSES):
            return
        if found == 0:
            raise InputError(f'{self.img_prefix}: has no class folders; without them a list of '
                             'labels is needed, meta/val.txt in data_root')
        raise InputError(f'{self.img_prefix}: has {found} class folders, where '
                         f'{len(self.CLASSES)} are expected; complete it, or name the classes that '
                         'it has by classes=[...]')
