"""Random resized crop that says where it cut."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform, Resize
from mmpretrain.datasets import RandomResizedCrop

from amt_mm.errors import InputError
from amt_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomResizedCropWithBox(RandomResizedCrop):
    """mmpretrain's random resized crop, drawn the same, with its box recorded.

    **Required keys:** img. **Modified keys:** img, img_shape.

    **Added keys:** crop_box, ``(x0, y0, x1, y1)`` relative to the image as this
    transform found it, so that the crop covers ``[x0 W, x1 W) x [y0 H, y1 H)``.

    Args:
        scale: Output size: an int for a square, or ``(height, width)``.
        **kwargs: See :class:`mmpretrain.datasets.RandomResizedCrop`.

    Raises:
        InputError: The image was flipped before: the box would count from the
            wrong side.
    """

    def rand_crop_params(self, img: np.ndarray) -> tuple[int, int, int, int]:
        """Draw ``(offset_h, offset_w, target_h, target_w)`` and keep it for the box."""
        self._drawn = super().rand_crop_params(img)
        return self._drawn

    def transform(self, results: dict) -> dict:
        """Crop, resize, and add ``crop_box``."""
        self._refuse_flipped(results)
        height, width = results['img'].shape[:2]
        results = super().transform(results)
        results['crop_box'] = self._box(height, width)
        return results

    def whole_image(self, size: tuple[int, int] | None = None) -> list[BaseTransform]:
        """Transforms that take this one's place where whole images are wanted.

        Args:
            size: Height and width of the whole images. Defaults to the crops'.
        """
        height, width = size or self.scale
        return [Resize(scale=(width, height), interpolation=self.interpolation,
                       backend=self.backend)]

    def _refuse_flipped(self, results: dict) -> None:
        if results.get('flip'):
            raise InputError(f'RandomFlip stands before {type(self).__name__} in the pipeline: '
                             'put it after, so that the crop box counts from the right side')

    def _box(self, height: int, width: int) -> tuple[float, float, float, float]:
        top, left, crop_height, crop_width = self._drawn
        return (left / width, top / height, (left + crop_width) / width,
                (top + crop_height) / height)
