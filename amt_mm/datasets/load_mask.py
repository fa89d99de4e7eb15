"""Load masks of semantic segmentation, or fail with a one-line reason."""

from __future__ import annotations

import io

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio

from amt_mm.errors import InputError
from amt_mm.registry import TRANSFORMS

from .loading import refuse_pipe
from .open_picture import open_picture
from .unreadable import FILE_ERRORS

# The label that no loss and no measure counts, as everywhere in the field.
IGNORED = 255
_COLOURED = ('RGB', 'RGBA', 'CMYK', 'LA', 'PA')


@TRANSFORMS.register_module()
class LoadMask(BaseTransform):
    """Load the class of each pixel as ``uint8`` of shape ``(H, W)``.

    To be used before :class:`LoadImage`, which refuses an image of another size and does not turn
    one that was labelled as stored; and once more after a resize that is for the image alone.
    Values of palettes are indices, as in Pascal VOC.

    Required keys: ``seg_map_path``, ``reduce_zero_label``, ``num_classes``, see
    :class:`SegmentationFolder`. Added keys: ``gt_seg_map``, ``height``, ``width``,
    ``label_pixels``, the number of pixels of each label, ``(256,)`` int64: small regions may be
    lost when ``gt_seg_map`` is resized; and ``seg_fields``, the list of masks for mmseg's
    transforms.

    Raises:
        InputError: Names the file and what is wrong: unreadable, a colour image, a label that
            is out of range.
    """

    def transform(self, results: dict) -> dict:
        """Load the mask."""
        mask = read_mask(results['seg_map_path'], results['reduce_zero_label'],
                         results['num_classes'])
        results['gt_seg_map'] = mask
        results['seg_fields'] = ['gt_seg_map']
        results['height'], results['width'] = mask.shape
        results['label_pixels'] = np.bincount(mask.ravel(), minlength=IGNORED + 1)
        return results


def read_mask(path: str, reduce_zero_label: bool, num_classes: int | None) -> np.ndarray:
    """Read a mask at its own size.

    Args:
        path: Of the PNG file.
        reduce_zero_label: Whether 0 means "no label", and classes count from 1.
        num_classes: Number of classes, None for any.

    Returns:
        ``uint8`` ``(H, W)``, classes from 0, :data:`IGNORED` where there is no label.

    Raises:
        InputError: See :class:`LoadMask`.
    """
    try:
        refuse_pipe(path)
        with open_picture(io.BytesIO(fileio.get(path))) as image:
            mode, mask = image.mode, np.asarray(image)
    except FILE_ERRORS as error:
        raise InputError(f'{path}: cannot be read as a mask: {error}') from error
    if mode in _COLOURED or mask.ndim != 2:
        raise InputError(f'{path}: is a colour image ({mode}), and a mask has one channel with '
                         'the class of each pixel: convert the colours to classes 0, 1, ...')
    mask = mask.astype(np.int64)
    if reduce_zero_label:
        mask = np.where((mask == 0) | (mask == IGNORED), IGNORED, mask - 1)
    limit = IGNORED if num_classes is None else num_classes
    wrong = (mask < 0) | (mask >= limit) & (mask != IGNORED)
    if wrong.any():
        label = int(mask[wrong][0]) + reduce_zero_label
        raise InputError(f'{path}: has the label {label}, and {limit} classes are '
                         f'{int(reduce_zero_label)} to {limit - 1 + reduce_zero_label} '
                         f'({"0 and " * reduce_zero_label}{IGNORED} ignored): correct the mask or '
                         'overlay.labelled.dataset.num_classes')
    return mask.astype(np.uint8)
