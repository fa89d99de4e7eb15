"""Tiny ImageNet in the layout of its archive."""

from __future__ import annotations

import os
import os.path as osp

from mmpretrain.datasets import BaseDataset

from amt_mm.checks import check_choice
from amt_mm.errors import InputError
from amt_mm.registry import DATASETS

from .download import archived_file, damaged


@DATASETS.register_module()
class TinyImageNet(BaseDataset):
    """Tiny ImageNet: 100,000 training and 10,000 validation images of 64 x 64, 200 classes.

    In the layout of the archive, with all validation images in one folder and their classes in a
    text file::

        data_root/wnids.txt  words.txt
                  train/<wnid>/images/*.JPEG
                  val/val_annotations.txt  val/images/*.JPEG

    Labels are places of the sorted WordNet ids, not lines of ``wnids.txt``, and thus equal those
    of loaders of class folders (torchvision, timm, :class:`amt_mm.datasets.ImageFolder`). Class
    names are those of ``words.txt`` if it exists, else the WordNet ids.

    Args:
        data_root: The archive's folder, ``tiny-imagenet-200``.
        split: ``'train'`` or ``'val'`` (the test images have no labels). Defaults to
            ``'train'``.
        **kwargs: Of :class:`mmpretrain.datasets.BaseDataset`: ``pipeline``, ``indices``,
            ``test_mode``, ``lazy_init``, ...

    Raises:
        InputError: A file or folder is missing, or an annotation is malformed, has an unknown
            class or a missing image.
    """

    def __init__(self, data_root: str = '', split: str = 'train', **kwargs) -> None:
        check_choice('split', split, ('train', 'val'))  # the test images have no labels
        if not data_root:
            raise InputError('data_root is empty: set it to the folder of wnids.txt.')
        self.split = split
        super().__init__(ann_file='', data_root=osp.expanduser(data_root), **kwargs)

    def load_data_list(self) -> list[dict]:
        """List paths and labels of the split."""
        with open(self._path('wnids.txt'), encoding='utf-8') as file:
            wnids = sorted(filter(None, map(str.strip, file)))
        self._metainfo.setdefault('classes', self._read_names(wnids))
        labels = {wnid: label for label, wnid in enumerate(wnids)}
        find = self._find_train if self.split == 'train' else self._find_val
        return [{'img_path': path, 'gt_label': labels[wnid]} for path, wnid in find(wnids)]

    def _path(self, *parts: str) -> str:
        return archived_file('tiny-imagenet', self.data_root, *parts)

    def _read_names(self, wnids: list[str]) -> tuple[str, ...]:
        try:
            words = self._path('words.txt')
        except InputError:
            return tuple(wnids)
        with open(words, encoding='utf-8') as file:
            names = dict(line.rstrip('\n').split('\t', 1) for line in file if '\t' in line)
        return tuple(names.get(wnid, wnid) for wnid in wnids)

    def _find_train(self, wnids: list[str]) -> list[tuple[str, str]]:
        """Find path and class of each training image, sorted."""
        found = []
        for wnid in wnids:
            folder = self._path('train', wnid, 'images')
            images = sorted(_images(folder))
            if not images:
                raise damaged('tiny-imagenet', self.data_root, f'{folder}: has no images')
            found += [(osp.join(folder, name), wnid) for name in images]
        return found

    def _find_val(self, wnids: list[str]) -> list[tuple[str, str]]:
        """Find path and class of each validation image, in the order of the annotations."""
        annotations, folder = self._path('val', 'val_annotations.txt'), self._path('val', 'images')
        images, known, found = _images(folder), set(wnids), {}
        with open(annotations, encoding='utf-8') as file:
            for number, line in enumerate(file, 1):
                # An unused box follows the class.
                name, _, rest = line.rstrip('\n').partition('\t')
                wnid = rest.partition('\t')[0]
                if not name or not wnid:
                    fault = f'{line.rstrip()!r} is not an image, a tab and a class'
                elif wnid not in known:
                    fault = f'class {wnid} is not in wnids.txt'
                elif name in found:
                    fault = f'{name} is in an earlier line, too'
                elif name not in images:
                    fault = f'{name} is not in {folder}'
                else:
                    found[name] = wnid
                    continue
                raise damaged('tiny-imagenet', self.data_root, f'{annotations}:{number}: {fault}')
        left = sorted(images - found.keys())
        if left:
            raise damaged('tiny-imagenet', self.data_root,
                          f'{annotations}: has no line for {left[0]}, one of {len(left)} such '
                          f'images in {folder}')
        return [(osp.join(folder, name), wnid) for name, wnid in found.items()]

    def extra_repr(self) -> list[str]:
        """Describe the split in place of the parent's files."""
        return [f'Split: \t{self.split}', f'Root of dataset: \t{self.data_root}']


def _images(folder: str) -> set[str]:
    return {name for name in os.listdir(folder)
            if name.lower().endswith('.jpeg') and not name.startswith('.')}
