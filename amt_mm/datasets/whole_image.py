"""The training set seen whole: every image once, in order, uncropped."""

from __future__ import annotations

import copy
import os
import zlib
from collections.abc import Iterable, Iterator

from mmcv.transforms import Compose
from mmengine.dataset import ConcatDataset as _AnyConcat
from mmpretrain.datasets import PackInputs
from torch.utils.data import Dataset

from amt_mm.errors import InputError
from amt_mm.saliency import fingerprint

from .concat import ConcatDataset
from .crop import RandomResizedCropWithBox
from .packed import PackedImages
from .repeated import RepeatedCrops

# Transforms of mmcv and mmpretrain that change which part of the image a pixel shows.
_MOVE_PIXELS = {
    'Resize', 'ResizeEdge', 'RandomResize', 'RandomChoiceResize', 'Pad', 'CenterCrop', 'RandomCrop',
    'RandomResizedCrop', 'RandomResizedCropWithBox', 'DecodeRandomResizedCrop',
    'EfficientNetRandomCrop', 'Rotate', 'Shear', 'Translate', 'AutoAugment', 'RandAugment'
}


def base_dataset(dataset: Dataset) -> Dataset:
    """The data set under wrappers that repeat or reorder its samples.

    Raises:
        InputError: A concatenation whose samples share indices.
    """
    # MMEngine's wrapper for `num_batch_per_epoch` has it under another name.
    while (name := next((n for n in ('dataset', '_dataset') if hasattr(dataset, n)), None)):
        dataset = getattr(dataset, name)
    if isinstance(dataset, _AnyConcat) and not isinstance(dataset, ConcatDataset):
        raise InputError("ConcatDataset gives samples of different children the same sample_idx: "
                         "write type='amt_mm.ConcatDataset' instead")
    return dataset


def whole_image_view(dataset: Dataset, size: tuple[int, int] | None = None) -> Dataset:
    """A copy of a training set whose samples are whole images, always the same.

    The pipeline is the training one up to its crop (loading and the like), then a
    plain resize.

    Args:
        dataset: Training set with ``RandomResizedCropWithBox`` in its pipeline.
        size: Height and width of the whole images. Defaults to the crop's output size,
            so that the map's grid is the model's.

    Returns:
        A view that shares the data; item i is sample i.

    Raises:
        InputError: No recording crop in the pipeline, chance before it, or a
            transform after it that moves pixels: then map and crop would not match.
    """
    dataset = base_dataset(dataset)
    view = copy.copy(dataset)
    if isinstance(view, ConcatDataset):
        view.datasets = [whole_image_view(child, size) for child in view.datasets]
        return view
    transforms = _in_line(dataset.pipeline.transforms)
    crops = [i for i, t in enumerate(transforms) if isinstance(t, RandomResizedCropWithBox)]
    if not crops:
        raise InputError(
            "the training pipeline has no 'amt_mm.RandomResizedCropWithBox': guided masking must "
            'know where each crop was cut (the overlays under configs/_base_/amt put it there)')
    _check_still(transforms[:crops[0]])
    _check_in_place(transforms[crops[0] + 1:])
    view.pipeline = Compose([
        *transforms[:crops[0]],
        *transforms[crops[0]].whole_image(size),
        PackInputs(meta_keys=('sample_idx', )),
    ])
    view.test_mode = True  # a broken image stops instead of becoming another sample
    return view


def _in_line(transforms: list) -> list:
    """The transforms that one crop passes, with those under :class:`RepeatedCrops`."""
    return [inner for transform in transforms
            for inner in (transform.transforms if isinstance(transform, RepeatedCrops)
                          else [transform])]


def _check_still(transforms: list) -> None:
    for transform in transforms:
        if getattr(transform, '_methods_with_randomness', None):
            raise InputError(f'{type(transform).__name__} stands before RandomResizedCropWithBox '
                             'in the training pipeline: saliency is that of the image as it is, so '
                             'put what changes it by chance after the crop')


def _check_in_place(transforms: list) -> None:
    names = [type(transform).__name__ for transform in _unwrapped(transforms)]
    for name in names:
        if name in _MOVE_PIXELS:
            raise InputError(f'{name} stands after RandomResizedCropWithBox in the training '
                             'pipeline and moves pixels, which the crop box does not tell: only '
                             'RandomFlip may')
    if names.count('RandomFlip') > 1:
        raise InputError('the training pipeline flips twice, and a sample tells its last flip '
                         "only: use one RandomFlip with prob=[.25, .25, .25] and direction="
                         "['horizontal', 'vertical', 'diagonal']")


def _unwrapped(transforms: Iterable) -> Iterator:
    """All transforms, with those in wrappers such as RandomApply and RandomChoice."""
    for transform in transforms:
        if not isinstance(transform, (list, tuple, Compose)):
            yield transform
        inner = getattr(transform, 'transforms', transform)
        if isinstance(inner, (list, tuple, Compose)):
            yield from _unwrapped(inner)


def dataset_fingerprint(dataset: Dataset) -> str:
    """Identity of a data set: number, names and order of its samples.

    Names are paths relative to the data root, so that a moved data set stays
    itself; samples without a path count by their pixels. A packed data set carries it.
    """
    dataset = base_dataset(dataset)
    if isinstance(dataset, PackedImages):
        return dataset.fingerprint
    return fingerprint(sample_names(dataset))


def sample_names(dataset: Dataset) -> Iterator[str]:
    """Names of the samples, in order, as :func:`dataset_fingerprint` counts them.

    Args:
        dataset: As :func:`base_dataset` gives it.
    """
    if isinstance(dataset, ConcatDataset):
        # Two folders may hold the same names: where they lie beside each other tells them apart.
        children = [base_dataset(child) for child in dataset.datasets]
        roots = [os.path.abspath(getattr(child, 'data_root', None) or '') for child in children]
        common = os.path.commonpath(roots)
        for child, root in zip(children, roots, strict=True):
            place = os.path.relpath(root, common)
            for name in sample_names(child):
                yield os.path.join(place, name)
        return
    root = str(getattr(dataset, 'data_root', None) or '')
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        if 'img_path' not in info:
            yield str(zlib.crc32(info['img'].tobytes()))
        elif root and info['img_path'].startswith(root):
            yield _inside(info['img_path'], root)
        else:
            yield info['img_path']


def _inside(path: str, root: str) -> str:
    """``os.path.relpath(path, root)`` of a path that begins with ``root``."""
    name = path.removeprefix(root.rstrip('/') + '/')
    # relpath takes three times as long as all else for a sample; few paths need it.
    if name != path and name[:1] != '/' and os.path.normpath(name) == name:
        return name
    return os.path.relpath(path, root)
