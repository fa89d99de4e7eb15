"""The training set as whole images: each once, in order, uncropped."""

from __future__ import annotations

import copy
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from weakref import WeakKeyDictionary

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

# Transforms of mmcv and mmpretrain that draw random numbers without declaring it.
_UNDECLARED_RANDOM = {
    'Albu', 'Albumentations', 'RandomResizedCropAndInterpolationWithTwoPic', 'RandomTranslatePad'
}
# Transforms of mmcv and mmpretrain that change which part of the image a pixel shows.
_MOVE_PIXELS = _UNDECLARED_RANDOM | {
    'Resize', 'ResizeEdge', 'RandomResize', 'RandomChoiceResize', 'Pad', 'CenterCrop', 'RandomCrop',
    'RandomResizedCrop', 'RandomResizedCropWithBox', 'DecodeRandomResizedCrop',
    'EfficientNetRandomCrop', 'EfficientNetCenterCrop', 'Rotate', 'Shear', 'Translate', 'Transpose',
    'AutoAugment', 'RandAugment'
}
# Torchvision's transforms declare nothing, so those are listed that are known to be safe.
_PIXELWISE = {
    'ConvertImageDtype', 'Grayscale', 'Normalize', 'PILToTensor', 'ToPILImage', 'ToTensor'
}
_DETERMINISTIC = _PIXELWISE | {'CenterCrop', 'Pad', 'Resize'}
_PIXELS_STAY = _PIXELWISE | {
    'ColorJitter', 'GaussianBlur', 'RandomAdjustSharpness', 'RandomAutocontrast', 'RandomEqualize',
    'RandomErasing', 'RandomGrayscale', 'RandomInvert', 'RandomPosterize', 'RandomSolarize'
}
# Of a data set in use: number of samples, fingerprint.
_FINGERPRINTS: WeakKeyDictionary[Dataset, tuple[int, str]] = WeakKeyDictionary()


def base_dataset(dataset: Dataset) -> Dataset:
    """Return the data set under wrappers that repeat or reorder its samples.

    Raises:
        InputError: The samples of a concatenation share indices.
    """
    # MMEngine's wrapper for `num_batch_per_epoch` calls it `_dataset`.
    while (name := next((n for n in ('dataset', '_dataset') if hasattr(dataset, n)), None)):
        dataset = getattr(dataset, name)
    if isinstance(dataset, _AnyConcat) and not isinstance(dataset, ConcatDataset):
        raise InputError("ConcatDataset gives samples of different children the same sample_idx: "
                         "write type='amt_mm.ConcatDataset' instead")
    return dataset


def whole_image_view(dataset: Dataset, size: tuple[int, int] | None = None) -> Dataset:
    """Return a view of a training set whose samples are deterministic whole images.

    Its pipeline is the training pipeline up to the crop, then a plain resize.

    Args:
        dataset: Training set with ``RandomResizedCropWithBox`` in its pipeline.
        size: Height and width of the whole images. Defaults to the output size of the crop, so
            that the grid of the map is the model's.

    Returns:
        A view that shares the data; item i is sample i.

    Raises:
        InputError: No recording crop in the pipeline, a random transform before it, or one that
            moves pixels after it, so that map and crop would not match.
    """
    dataset = base_dataset(dataset)
    view = copy.copy(dataset)
    if isinstance(view, ConcatDataset):
        view.datasets = [whole_image_view(child, size) for child in view.datasets]
        return view
    transforms = _flatten_repeats(dataset.pipeline.transforms)
    crops = [i for i, t in enumerate(transforms) if isinstance(t, RandomResizedCropWithBox)]
    if not crops:
        raise InputError(
            "the training pipeline has no 'amt_mm.RandomResizedCropWithBox': guided masking needs "
            'the box of each crop (the overlays in configs/_base_/amt add it)')
    _check_deterministic(transforms[:crops[0]])
    _check_pixels_stay(transforms[crops[0] + 1:])
    view.pipeline = Compose([
        *transforms[:crops[0]],
        *transforms[crops[0]].whole_image(size),
        PackInputs(meta_keys=('sample_idx', )),
    ])
    view.test_mode = True  # stop at unreadable images instead of replacing them
    return view


def _flatten_repeats(transforms: list) -> list:
    """Return the transforms of one crop, including those of :class:`RepeatedCrops`."""
    return [inner for transform in transforms
            for inner in (transform.transforms if isinstance(transform, RepeatedCrops)
                          else [transform])]


def _check_deterministic(transforms: list) -> None:
    for transform in _flatten(transforms):
        name, of_torchvision = _name(transform)
        if (name not in _DETERMINISTIC if of_torchvision
                else name in _UNDECLARED_RANDOM
                or getattr(transform, '_methods_with_randomness', None)):
            raise InputError(f'{name} comes before RandomResizedCropWithBox '
                             'in the training pipeline: saliency is computed on the original '
                             'image, so move random transforms behind the crop')


def _check_pixels_stay(transforms: list) -> None:
    names = [_name(transform) for transform in _flatten(transforms)]
    for name, of_torchvision in names:
        if name not in _PIXELS_STAY if of_torchvision else name in _MOVE_PIXELS:
            raise InputError(f'{name} comes after RandomResizedCropWithBox in the training '
                             'pipeline and moves pixels, which the crop box does not record: '
                             'remove it (only RandomFlip is supported)')
    if names.count(('RandomFlip', False)) > 1:
        raise InputError('the training pipeline flips twice, but samples record their last '
                         "flip only: use one RandomFlip with prob=[.25, .25, .25] and direction="
                         "['horizontal', 'vertical', 'diagonal']")


def _name(transform: Callable) -> tuple[str, bool]:
    """Return the class of a transform, and whether mmpretrain wraps it from torchvision."""
    of_torchvision = hasattr(transform, 't')
    return type(transform.t if of_torchvision else transform).__name__, of_torchvision


def _flatten(transforms: Iterable) -> Iterator:
    """Yield all transforms, including those in wrappers such as RandomApply and RandomChoice."""
    for transform in transforms:
        if not isinstance(transform, (list, tuple, Compose)):
            yield transform
        inner = getattr(transform, 'transforms', transform)
        if isinstance(inner, (list, tuple, Compose)):
            yield from _flatten(inner)


def dataset_fingerprint(dataset: Dataset) -> str:
    """Return the identity of a data set: number, names and order of its samples.

    Names are paths relative to the data root, so moving a data set does not change it; samples
    without a path count by their pixels. Packed data sets store it; of others it is kept, since
    several hooks ask for it at the start, and reading all names of ImageNet takes seconds.
    """
    dataset = base_dataset(dataset)
    if isinstance(dataset, PackedImages):
        return dataset.fingerprint
    samples, known = _FINGERPRINTS.get(dataset, (None, ''))
    if samples != len(dataset):  # as MMEngine's get_subset_ leaves it
        known = fingerprint(sample_names(dataset))
        _FINGERPRINTS[dataset] = len(dataset), known
    return known


def sample_names(dataset: Dataset) -> Iterator[str]:
    """Yield the sample names that :func:`dataset_fingerprint` uses, of a :func:`base_dataset`."""
    if isinstance(dataset, ConcatDataset):
        # Folders may contain equal names: their relative places distinguish them.
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
    """Return ``os.path.relpath(path, root)`` of a path that starts with ``root``."""
    name = path.removeprefix(root.rstrip('/') + '/')
    # relpath takes three times as long as everything else per sample; few paths need it.
    if name != path and name[:1] != '/' and os.path.normpath(name) == name:
        return name
    return os.path.relpath(path, root)
