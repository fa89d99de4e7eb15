"""CIFAR-10 and CIFAR-100 as BGR, without downloads."""

from __future__ import annotations

import os.path as osp

import numpy as np
from mmpretrain.datasets import CIFAR10 as _CIFAR10
from mmpretrain.datasets import CIFAR100 as _CIFAR100
from mmpretrain.datasets.utils import check_md5

from amt_mm.checks import check_choice
from amt_mm.errors import InputError
from amt_mm.registry import DATASETS

from .download import archived_file, damaged


class _Archived:
    """Common differences from mmpretrain's classes.

    Images are BGR, as image loaders return them, so one data preprocessor serves all data sets;
    mmpretrain returns RGB and sets ``to_rgb=False`` for CIFAR alone. Nothing is downloaded.
    """

    def __init__(self, data_root: str = '', split: str = 'train', **kwargs) -> None:
        check_choice('split', split, ('train', 'test'))
        if not data_root:
            raise InputError(f'data_root is empty: set it to the folder of {self.base_folder}.')
        super().__init__(
            data_root=osp.expanduser(data_root), split=split, download=False, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Load images and labels of the split.

        Returns:
            One dict per sample: ``img`` (``uint8`` BGR of shape ``(32, 32, 3)``), ``img_shape``,
            ``ori_shape`` and ``gt_label``.
        """
        for file, md5 in self.train_list if self.split == 'train' else self.test_list:
            path = archived_file(self.name, self.data_root, file)
            # Also makes it safe to unpickle the file.
            if md5 is not None and not check_md5(path, md5):
                raise damaged(self.name, self.data_root, f'{path}: its md5 is not {md5}')
        data_list = super().load_data_list()
        for info in data_list:
            info['img'] = np.ascontiguousarray(info['img'][:, :, ::-1])
            info['img_shape'] = info['ori_shape'] = info['img'].shape[:2]
        return data_list

    def _check_integrity(self) -> bool:
        # Without it the parent would download; `load_data_list` has already checked.
        return True


@DATASETS.register_module()
class CIFAR10(_Archived, _CIFAR10):
    """CIFAR-10: 50,000 training and 10,000 test images of 32 x 32 pixels, 10 classes.

    Images are BGR; see :class:`mmpretrain.datasets.CIFAR10`.

    Args:
        data_root: Folder of ``cifar-10-batches-py``.
        split: ``'train'`` or ``'test'``. Defaults to ``'train'``.
        **kwargs: Of the parent: ``pipeline``, ``indices``, ``test_mode``, ...

    Raises:
        InputError: Files are missing or differ from the archive's.
    """

    name = 'cifar10'


@DATASETS.register_module()
class CIFAR100(_Archived, _CIFAR100):
    """CIFAR-100: 50,000 training and 10,000 test images of 32 x 32 pixels, 100 classes.

    Images are BGR and labels the fine ones; see :class:`mmpretrain.datasets.CIFAR100`.

    Args:
        data_root: Folder of ``cifar-100-python``.
        split: ``'train'`` or ``'test'``. Defaults to ``'train'``.
        **kwargs: Of the parent: ``pipeline``, ``indices``, ``test_mode``, ...

    Raises:
        InputError: Files are missing or differ from the archive's.
    """

    name = 'cifar100'
