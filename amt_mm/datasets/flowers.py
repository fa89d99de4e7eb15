"""Flowers-102, with clear errors for missing parts."""

from __future__ import annotations

import os.path as osp

from mmpretrain.datasets import Flowers102 as _Flowers102

from amt_mm.errors import InputError
from amt_mm.registry import DATASETS

_PAGE = 'https://www.robots.ox.ac.uk/~vgg/data/flowers/102'


@DATASETS.register_module()
class Flowers102(_Flowers102):
    """Flowers-102 as published: ``jpg/``, ``imagelabels.mat`` and ``setid.mat`` in one folder.

    Args:
        data_root: The folder.
        split: ``'trainval'`` (2,040 images, on which results are published), ``'train'``, ``'val'``
            or ``'test'`` (6,149 images). Defaults to ``'trainval'``.
        **kwargs: See :class:`mmpretrain.datasets.Flowers102`.

    Raises:
        InputError: A file is missing or is no list of the data set.
    """

    def __init__(self, data_root: str, split: str = 'trainval', **kwargs) -> None:
        if split not in ('train', 'val', 'trainval', 'test'):
            raise InputError(f"split={split!r}: use 'train', 'val', 'trainval' or 'test'")
        super().__init__(osp.expanduser(data_root), split, **kwargs)

    @property
    def list_files(self) -> list[str]:
        """The files with labels and splits."""
        return [self.ann_file, self.train_test_split_file]

    def load_data_list(self) -> list[dict]:
        """List images and labels of the split."""
        for path in (*self.list_files, self.img_prefix):
            if not osp.exists(path):
                raise InputError(f'{path}: does not exist; put 102flowers.tgz (unpacked), '
                                 f'imagelabels.mat and setid.mat of {_PAGE} into one folder')
        try:
            samples = super().load_data_list()
        # The reader of .mat files raises many kinds.
        except Exception as error:
            raise InputError(f'{self.ann_file} and {self.train_test_split_file}: are not the files '
                             f'of {_PAGE}, or damaged ({type(error).__name__}: {error})'
                             ) from error
        missing = [each['img_path'] for each in samples if not osp.isfile(each['img_path'])]
        if missing:
            raise InputError(f'{missing[0]}: does not exist ({len(missing)} of {len(samples)} '
                             'images are missing)')
        return samples
