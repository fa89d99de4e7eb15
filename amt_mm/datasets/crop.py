"""Random resized crop that records its box."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform, Resize
from mmpretrain.datasets import RandomResizedCrop

from amt_mm.errors import InputError
from amt_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class RandomResizedCropWithBox(RandomResizedCrop):
    """mmpretrain's random resized crop, with the same random draws and its box recorded.

    **Required keys:** img. **Modified keys:** img, img_shape. **Added keys:** crop_box,
    ``(x0, y0, x1, y1)`` relative to the input image of height H and width W, so that the crop
    covers ``[x0 W, x1 W) x [y0 H, y1 H)``.

    Args:
        scale: Output size: an int for a square, or ``(height, width)``.
        **kwargs: See :class:`mmpretrain.datasets.RandomResizedCrop`.

    Raises:
        InputError: The image was flipped before, which would mirror the box.
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
        """Return the transforms that replace this one for whole images.

        Args:
            size: Height and width of the whole images. Defaults to the output size of the crop.
        """
        height, width = size or self.scale
        return [Resize(scale=(width, height), interpolation=self.interpolation,
                       backend=self.backend)]

    def _refuse_flipped(self, results: dict) -> None:
        if results.get('flip'):
            raise InputError(f'RandomFlip comes before {type(self).__name__} in the pipeline: '
                             'move it after the crop, because a flip would mirror the crop box')

    def _box(self, height: int, width: int) -> tuple[float, float, float, float]:
        top, left, crop_height, crop_width = self._drawn
        return (left / width, top / height, (left + crop_width) / width,
                (top + crop_height) / height)
