"""STL-10, read image by image from its binary files."""

from __future__ import annotations

import os.path as osp

import numpy as np
from mmpretrain.datasets import BaseDataset

from amt_mm.checks import check_choice
from amt_mm.errors import InputError
from amt_mm.registry import DATASETS

from .download import archived_file, damaged

_SIDE = 96
_IMAGE_BYTES = 3 * _SIDE * _SIDE
# Image files of each split, and whether they have labels.
_SPLITS = {
    'train': (('train', ), True),
    'test': (('test', ), True),
    'unlabeled': (('unlabeled', ), False),
    'train+unlabeled': (('train', 'unlabeled'), False),
}


@DATASETS.register_module()
class STL10(BaseDataset):
    """STL-10: 5,000 training, 8,000 test and 100,000 unlabelled images of 96 x 96 pixels.

    Each sample reads its 27 kB of the image files, up to 2.7 GB: nothing is kept in memory, and
    only names are sent to loader workers.

    A sample has ``img`` (``uint8`` BGR of shape ``(96, 96, 3)``, as image loaders return it),
    ``img_shape``, ``ori_shape``, ``sample_idx``, ``img_path`` (a name such as
    ``'train_X.bin[12]'``) and, in the splits ``'train'`` and ``'test'``, ``gt_label``.

    Args:
        data_root: The archive's folder, ``stl10_binary``.
        split: ``'train'``, ``'test'``, or for pre-training ``'unlabeled'`` or
            ``'train+unlabeled'``, which have no labels. Defaults to ``'train'``.
        **kwargs: Of :class:`mmpretrain.datasets.BaseDataset`: ``pipeline``, ``indices``,
            ``test_mode``, ``lazy_init``, ...

    Raises:
        InputError: A file is missing, is not a whole number of images, has not one label per
            image, or a label is out of range.
    """

    # In the order of class_names.txt.
    METAINFO = {'classes': ('airplane', 'bird', 'car', 'cat', 'deer', 'dog', 'horse', 'monkey',
                            'ship', 'truck')}

    def __init__(self, data_root: str = '', split: str = 'train', **kwargs) -> None:
        check_choice('split', split, _SPLITS)
        if not data_root:
            raise InputError('data_root is empty: set it to the folder of train_X.bin.')
        self.split = split
        super().__init__(ann_file='', data_root=osp.expanduser(data_root), **kwargs)

    def load_data_list(self) -> list[dict]:
        """List names and labels of the split."""
        parts, labelled = _SPLITS[self.split]
        data_list = []
        for part in parts:
            file = f'{part}_X.bin'
            count = self._count_images(file)
            data_list += [{'img_path': f'{file}[{place}]', 'file': file, 'place': place}
                          for place in range(count)]
        if labelled:
            labels = self._read_labels(f'{self.split}_y.bin', len(data_list))
            for info, label in zip(data_list, labels, strict=True):
                info['gt_label'] = label
        return data_list

    def prepare_data(self, idx: int) -> dict | None:
        """Read one image and pass it through the pipeline.

        Not in ``get_data_info``, which is called for all names or labels and would read all images.
        """
        info = self.get_data_info(idx)
        path = archived_file('stl10', self.data_root, info.pop('file'))
        values = np.fromfile(path, np.uint8, _IMAGE_BYTES, offset=info.pop('place') * _IMAGE_BYTES)
        # RGB planes, each column by column.
        planes = values.reshape(3, _SIDE, _SIDE)
        info['img'] = np.ascontiguousarray(planes[::-1].transpose(2, 1, 0))
        info['img_shape'] = info['ori_shape'] = (_SIDE, _SIDE)
        return self.pipeline(info)

    def _count_images(self, file: str) -> int:
        path = archived_file('stl10', self.data_root, file)
        size = osp.getsize(path)
        if size == 0 or size % _IMAGE_BYTES:
            raise damaged('stl10', self.data_root,
                          f'{path}: {size} bytes are not a multiple of the {_IMAGE_BYTES} '
                          'bytes of an image')
        return size // _IMAGE_BYTES

    def _read_labels(self, file: str, images: int) -> list[int]:
        """Read the labels, which the file counts from 1, as counted from 0."""
        path = archived_file('stl10', self.data_root, file)
        labels = np.fromfile(path, np.uint8)
        if len(labels) != images:
            raise damaged('stl10', self.data_root, f'{path}: {len(labels)} labels for {images} '
                          'images')
        wrong = (labels < 1) | (labels > 10)
        if wrong.any():
            place = int(wrong.argmax())
            raise damaged('stl10', self.data_root,
                          f'{path}: label {labels[place]} at position {place} is not in 1..10')
        return (labels.astype(int) - 1).tolist()

    def extra_repr(self) -> list[str]:
        """Describe the split in place of the parent's files."""
        return [f'Split: \t{self.split}', f'Root of dataset: \t{self.data_root}']
