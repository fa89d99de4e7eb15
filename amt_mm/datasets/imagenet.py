"""ImageNet-1K, with clear errors for missing parts."""

from __future__ import annotations

import os.path as osp
from collections import Counter

from mmengine.fileio import get_file_backend
from mmpretrain.datasets import ImageNet as _ImageNet
from mmpretrain.datasets.custom import find_folders

from amt_mm.checks import check_choice, is_index
from amt_mm.errors import InputError
from amt_mm.registry import DATASETS

from .download import download_command


@DATASETS.register_module()
class ImageNet(_ImageNet):
    """ImageNet-1K in one folder per class, or in one folder with a list of labels.

    ::

        data_root/train/<wnid>/*.JPEG
        data_root/val/<wnid>/*.JPEG        or val/*.JPEG with meta/val.txt

    ``meta/<split>.txt`` takes precedence if it exists (lines of a path and a label from 0).
    Otherwise labels are the places of the sorted WordNet ids.

    Args:
        data_root: Folder of ``train`` and ``val``.
        split: ``'train'``, ``'val'`` or ``'test'`` (without labels). Defaults to '': by
            ``data_prefix`` and ``ann_file``.
        first_of_class: Use only this many first files of each class; 260 are a fifth of
            ImageNet, as in AttMask (ECCV 2022, sec. 4.1). Defaults to None: all.
        with_label: True requires one folder for each class, or the list; False takes all images
            without labels. None is for pre-training, which uses no labels: any class folders, or
            none, and a list that is missing is none. Defaults to True.
        **kwargs: See :class:`mmpretrain.datasets.ImageNet`. For a subset of the classes give
            their names as ``classes=[...]``.

    Raises:
        InputError: A folder is missing, has no image or not one folder per class, or a line of
            the list is malformed.
    """

    def __init__(self, data_root: str = '', split: str = '', first_of_class: int | None = None,
                 with_label: bool | None = True, **kwargs) -> None:
        if first_of_class is not None and first_of_class < 1:
            raise InputError(f'first_of_class={first_of_class} must be at least 1')
        self.first_of_class = first_of_class
        check_choice('split', split, ('', 'train', 'val', 'test'))
        if not (data_root or kwargs.get('data_prefix')):
            raise InputError('data_root is empty: set it to the folder of train and val.')
        super().__init__(data_root=osp.expanduser(data_root), split=split, with_label=with_label,
                         **kwargs)

    def load_data_list(self) -> list[dict]:
        """List paths and labels of the split."""
        if not osp.isdir(self.img_prefix):
            raise InputError(
                f'{self.img_prefix}: does not exist; download the archives of ImageNet with an '
                'account of yours, and unpack them by: '
                f'{download_command("imagenet", self.data_root, " --archive FILE FILE FILE")}')
        if self.with_label is None:
            self._follow_layout()
        if self.ann_file and not osp.isfile(self.ann_file):
            raise InputError(f'ann_file {self.ann_file}: does not exist')
        if self.with_label and not self.ann_file:
            self._check_folders()
        try:
            samples = (self._read_list() if self.ann_file and self.with_label
                       else super().load_data_list())
        except RuntimeError as error:
            raise InputError(f'{self.img_prefix}: has no images') from error
        return samples if self.first_of_class is None else self._take_first(samples)

    def _follow_layout(self) -> None:
        """Set list, labels and classes by what is there."""
        if self.ann_file and osp.isfile(self.ann_file):
            self.with_label = True
            return
        self.ann_file = ''
        classes = find_folders(self.img_prefix)[0]
        self.with_label = bool(classes)
        if classes and len(classes) != len(self.CLASSES):
            self._metainfo['classes'] = tuple(classes)

    def _take_first(self, samples: list[dict]) -> list[dict]:
        if not samples or 'gt_label' not in samples[0]:
            raise InputError(f'{self.img_prefix}: first_of_class requires class labels')
        taken, first = Counter(), []
        for sample in sorted(samples, key=lambda each: each['img_path']):
            taken[sample['gt_label']] += 1
            if taken[sample['gt_label']] <= self.first_of_class:
                first.append(sample)
        return first

    def _read_list(self) -> list[dict]:
        """Read and check paths and labels in one pass; mmpretrain does not check."""
        backend = get_file_backend(self.img_prefix, enable_singleton=True)
        samples, classes = [], len(self.CLASSES)
        with open(self.ann_file, encoding='utf-8-sig', errors='surrogateescape') as file:
            for number, line in enumerate(file, 1):
                name, _, label = line.strip().rpartition(' ')
                if not name or not is_index(label) or int(label) >= classes:
                    raise InputError(f'{self.ann_file}:{number}: {line.strip()!r} is not a path '
                                     f'and a label below {classes}')
                samples.append({'img_path': backend.join_path(self.img_prefix, name),
                                'gt_label': int(label)})
        return samples

    def _check_folders(self) -> None:
        found = len(find_folders(self.img_prefix)[0])
        if found == len(self.CLASSES):
            return
        if found == 0:
            raise InputError(f'{self.img_prefix}: has no class folders; add them, or the list of '
                             'labels meta/val.txt in data_root')
        raise InputError(f'{self.img_prefix}: has {found} class folders instead of '
                         f'{len(self.CLASSES)}; complete it, or name its classes by '
                         'classes=[...]')
