"""A folder of images and PNG masks, for semantic segmentation."""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Iterable

from amt_mm.errors import InputError
from amt_mm.registry import DATASETS

from .image_folder import ImageFolder

_IMAGES = 'images'
# Folders of masks -> whether 0 means "no label" there.
_MASKS = {'masks': False, 'annotations': True}


def are_images_and_masks(folders: Iterable[str]) -> bool:
    """Whether the names of folders, taken for classes, are those of images and masks."""
    return set(folders) in [{_IMAGES, name} for name in _MASKS]


@DATASETS.register_module()
class SegmentationFolder(ImageFolder):
    """Images and masks of the same names: one PNG for each image, the class of each pixel in it.

    Recognises three layouts, in which ``masks`` may be ``annotations``::

        root/images/a.jpg             root/masks/a.png                 split by a hash
        root/images/train/a.jpg       root/masks/train/a.png           and val
        root/train/images/a.jpg       root/train/masks/a.png           and val

    ADE20K (``ADEChallengeData2016``) has the second, with ``annotations``, ``training`` and
    ``validation``. A label of 255 is ignored.

    Args:
        data_root: The folder.
        split: See :class:`ImageFolder`, as for all other arguments.
        num_classes: Number of classes C; a mask with a label of C or more is refused. Defaults to
            None: as many as the masks show.
        reduce_zero_label: Whether 0 means "no label", and classes count from 1. Defaults to None:
            in ``annotations``, as in ADE20K, but not in ``masks``.
        **kwargs: See :class:`ImageFolder`.

    Raises:
        InputError: A folder is missing, an image has no mask; and see the parent.
    """

    def __init__(self, data_root: str = '', split: str | None = 'all',
                 num_classes: int | None = None, reduce_zero_label: bool | None = None, **kwargs
                 ) -> None:
        if num_classes is not None and not 2 <= num_classes <= 255:
            raise InputError(f'num_classes={num_classes}: give 2 to 255, as masks have 8 bits and '
                             '255 is ignored')
        self.num_classes = num_classes
        self.reduce_zero_label = reduce_zero_label
        # Otherwise they are one level deeper, in the splits.
        self._images_on_top = osp.isdir(osp.join(osp.expanduser(data_root), _IMAGES))
        super().__init__(data_root, _IMAGES if self._images_on_top else '', split,
                         with_label=False, **kwargs)

    def load_data_list(self) -> list[dict]:
        """List images and masks."""
        if self.frames:
            raise InputError(f"{self.data_root}: frames (pixels.pages='frames') have no masks: "
                             'write one file for each frame')
        samples = super().load_data_list()
        if self.num_classes is not None:
            # For mmseg's metric.
            self._metainfo.setdefault('classes', tuple(map(str, range(self.num_classes))))
        name = self._masks_folder(samples[0]['img_path'])
        reduce = _MASKS[name] if self.reduce_zero_label is None else self.reduce_zero_label
        for sample in samples:
            sample.update(seg_map_path=self._mask_of(sample['img_path'], name),
                          reduce_zero_label=reduce, num_classes=self.num_classes)
        first: dict[str, str] = {}
        for sample in samples:
            image, mask = sample['img_path'], sample['seg_map_path']
            if (other := first.setdefault(mask, image)) != image:
                raise InputError(f'{image}: has the mask {mask} of {other}; rename one of them')
        missing = [sample for sample in samples if not osp.isfile(sample['seg_map_path'])]
        if missing:
            raise InputError(f'{missing[0]["img_path"]}: has no mask {missing[0]["seg_map_path"]} '
                             f'({len(missing)} of {len(samples)} images have none); add it, or '
                             'remove the image')
        return samples

    def _list_images(self) -> list[tuple[str, ...]]:
        paths = super()._list_images()
        if self._images_on_top:
            return paths
        paths = [parts for parts in paths if len(parts) > 2 and parts[1] == _IMAGES]
        if not paths:
            raise InputError(f'{self._folder}: has no images/, nor train/images/ and val/images/; '
                             'put masks of the same names (.png) in masks/ next to it')
        return paths

    def _masks_folder(self, image: str) -> str:
        found = [name for name in _MASKS if osp.isdir(self._beside(image, name)[0])]
        if len(found) == 1:
            return found[0]
        beside = self._beside(image, _IMAGES)[0]
        what = 'both' if found else 'neither of'
        raise InputError(f'{beside}: there are {what} {" and ".join(_MASKS)} next to it; keep the '
                         'masks, one PNG for each image, in one of them')

    def _mask_of(self, image: str, name: str) -> str:
        folder, inside = self._beside(image, name)
        return osp.join(folder, f'{osp.splitext(inside)[0]}.png')

    def _beside(self, image: str, name: str) -> tuple[str, str]:
        """Return a folder next to that of the images, and the path of an image in the latter."""
        first, *rest = osp.relpath(image, self._folder).split(os.sep)
        if self._images_on_top:
            return osp.join(osp.dirname(self._folder), name), osp.join(first, *rest)
        return osp.join(self._folder, first, name), osp.join(*rest[1:])
