"""CIFAR-10 and CIFAR-100 as BGR, from files that are there."""

from __future__ import annotations

import os.path as osp

import numpy as np
from mmpretrain.datasets import CIFAR10 as _CIFAR10
from mmpretrain.datasets import CIFAR100 as _CIFAR100
from mmpretrain.datasets.utils import check_md5

from amt_mm.errors import InputError
from amt_mm.registry import DATASETS

from .presence import archived_file, damaged


class _Archived:
    """What both differ in from their parents of mmpretrain.

    Images are BGR, as an image loader gives them, where mmpretrain hands out
    RGB and has its configs for CIFAR alone say ``to_rgb=False``: so one data
    preprocessor serves all data sets. And nothing is downloaded at start.
    """

    def __init__(self, data_root: str = '', split: str = 'train', **kwargs) -> None:
        if split not in ('train', 'test'):
            raise InputError(f"split={split!r}: give 'train' or 'test'.")
        if not data_root:
            raise InputError(f'data_root is empty: give the folder that holds {self.base_folder}.')
        super().__init__(
            data_root=osp.expanduser(data_root), split=split, download=False, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the split's images and labels.

        Returns:
            One dict a sample: ``img`` (``uint8`` BGR of shape ``(32, 32, 3)``),
            ``img_shape``, ``ori_shape`` and ``gt_label``.
        """
        for file, md5 in self.train_list if self.split == 'train' else self.test_list:
            path = archived_file(self.name, self.data_root, file)
            # Also what makes it safe to unpickle the file.
            if md5 is not None and not check_md5(path, md5):
                raise damaged(self.name, self.data_root, f'{path}: its md5 is not {md5}')
        data_list = super().load_data_list()
        for info in data_list:
            info['img'] = np.ascontiguousarray(info['img'][:, :, ::-1])
            info['img_shape'] = info['ori_shape'] = info['img'].shape[:2]
        return data_list

    def _check_integrity(self) -> bool:
        # Asked by the parent, which would download; `load_data_list` has checked by then.
        return True


@DATASETS.register_module()
class CIFAR10(_Archived, _CIFAR10):
    """CIFAR-10: 50,000 training and 10,000 test images of 32 x 32 pixels, 10 classes.

    Images are BGR; see :class:`mmpretrain.datasets.CIFAR10` for the rest.

    Args:
        data_root: Folder that holds ``cifar-10-batches-py``.
        split: ``'train'`` or ``'test'``. Defaults to ``'train'``.
        **kwargs: Of the parent: ``pipeline``, ``indices``, ``test_mode``, ...

    Raises:
        InputError: Files are missing or differ from those of the archive.
    """

    name = 'cifar10'


@DATASETS.register_module()
class CIFAR100(_Archived, _CIFAR100):
    """CIFAR-100: 50,000 training and 10,000 test images of 32 x 32 pixels, 100 classes.

    Images are BGR and labels the fine ones; see
    :class:`mmpretrain.datasets.CIFAR100` for the rest.

    Args:
        data_root: Folder that holds ``cifar-100-python``.
        split: ``'train'`` or ``'test'``. Defaults to ``'train'``.
        **kwargs: Of the parent: ``pipeline``, ``indices``, ``test_mode``, ...

    Raises:
        InputError: Files are missing or differ from those of the archive.
    """

    name = 'cifar100'
