"""Read a file and decode only what the random crop needs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from torch.nn.functional import interpolate

from amt_mm.errors import InputError
from amt_mm.registry import TRANSFORMS

from .crop import RandomResizedCropWithBox
from .encoded import EncodedImage, open_jpeg
from .loading import LoadImage, decode_image

# A JPEG is decoded at 1/2, 1/4 or 1/8 if the crop remains this much larger than the output. With a
# margin of 1, high frequencies that Pillow's filter removes would remain.
_MARGIN = 1.5


@TRANSFORMS.register_module()
class ReadImage(LoadImage):
    """Read an image file, leaving the decoding of JPEGs to the crop that follows.

    Replaces :class:`LoadImage` before :class:`DecodeRandomResizedCrop`, with the same handling of
    orientation, alpha and depth: all but upright 8-bit JPEGs are decoded immediately.

    Required keys: ``img_path`` or ``img``. Added keys: ``img``, an
    :class:`~amt_mm.datasets.encoded.EncodedImage` or an array; ``img_shape``, ``ori_shape`` (both
    ``(height, width)``, after the EXIF orientation).

    Args:
        ignore_empty: See :class:`LoadImage`.
        backend_args: See :class:`LoadImage`.

    Raises:
        InputError: Names the unreadable file and the reason.
    """

    def __init__(self, ignore_empty: bool = False, *, backend_args: dict | None = None) -> None:
        super().__init__(ignore_empty=ignore_empty, backend_args=backend_args)

    def _decode(self, content: bytes | memoryview, path: str) -> np.ndarray | EncodedImage:
        image = open_jpeg(content, path)
        return decode_image(bytes(content)) if image is None else image


@TRANSFORMS.register_module()
class DecodeRandomResizedCrop(RandomResizedCropWithBox):
    """Draw a random resized crop, decode that part only, resize it with antialiasing.

    Draws and box equal those of :class:`RandomResizedCropWithBox`, pixels those of its Pillow
    backend, within 1 (except one in 200). Crops of a JPEG that are much larger than the output
    are decoded at 1/2, 1/4 or 1/8 of the size, in the decoder's cosine transform, as long as they
    stay 1.5 times as large as the output. The edges of the crop then fall on whole pixels of the
    reduced image; mean and standard deviation stay within 2 %, the power spectrum within 8 % up
    to half the highest frequency and a fifth below Pillow's at the highest.

    **Required keys:** img, from :class:`ReadImage` or an array. **Modified keys:** img,
    img_shape. **Added keys:** crop_box.

    Args:
        scale: Output size: an int for a square, or ``(height, width)``.
        interpolation: ``'bicubic'`` (default, as in MAE) or ``'bilinear'``.
        backend: ``'pillow'``, whose resizing this one equals; others are refused, because their
            pixels would change silently.
        **kwargs: See :class:`mmpretrain.datasets.RandomResizedCrop`.

    Raises:
        InputError: Another interpolation or backend, an image that was flipped before, or a
            damaged file.
    """

    def __init__(self, scale: int | tuple[int, int], interpolation: str = 'bicubic',
                 backend: str = 'pillow', **kwargs) -> None:
        super().__init__(scale, interpolation=interpolation, backend=backend, **kwargs)
        if interpolation not in ('bicubic', 'bilinear') or backend != 'pillow':
            raise InputError(
                f'DecodeRandomResizedCrop(interpolation={interpolation!r}, backend={backend!r}): '
                "it supports backend='pillow' with 'bicubic' or 'bilinear'; for other resizing use "
                'RandomResizedCropWithBox')

    @property
    def stages(self) -> tuple[Callable[[dict], dict], ...]:
        """Its two parts, for :class:`StagedDataset`."""
        return self._cut, self._resize

    def transform(self, results: dict) -> dict:
        """Crop, resize, and add ``crop_box``."""
        return self._resize(self._cut(results))

    def _cut(self, results: dict) -> dict:
        self._refuse_flipped(results)
        image = results['img']
        top, left, height, width = self.rand_crop_params(image)
        if isinstance(image, EncodedImage):
            results['img'] = image.part(top, left, height, width,
                                        _reduction(height, width, self.scale))
        else:
            results['img'] = image[top:top + height, left:left + width]
        results['crop_box'] = self._box(*image.shape[:2])
        return results

    def _resize(self, results: dict) -> dict:
        results['img'] = _resize_antialiased(results['img'], tuple(self.scale), self.interpolation)
        results['img_shape'] = results['img'].shape
        return results

    def whole_image(self, size: tuple[int, int] | None = None) -> list[BaseTransform]:
        """Return the transforms that replace this one for whole images of ``size``."""
        return [DecodeImage(), *super().whole_image(size)]


class DecodeImage(BaseTransform):
    """Turn what :class:`ReadImage` read into an array, ``(H, W, 3)`` uint8 BGR."""

    def transform(self, results: dict) -> dict:
        """Decode ``results['img']``, unless it is an array."""
        image = results['img']
        if isinstance(image, EncodedImage):
            results['img'] = image.decode()
        return results

def _reduction(height: int, width: int, scale: tuple[int, int]) -> int:
    """Factor by which the decoder may shrink a crop of this size."""
    factor = min(height / scale[0], width / scale[1]) / _MARGIN
    return max(k for k in (1, 2, 4, 8) if k <= max(factor, 1))


def _resize_antialiased(image: np.ndarray, size: tuple[int, int], interpolation: str
                        ) -> np.ndarray:
    """Resize ``(H, W, 3)`` uint8 as Pillow does, several times faster.

    torch's 8-bit kernel uses Pillow's filters and fixed-point arithmetic, on four channels at
    a time; the result is within 1 of Pillow's, except one value in 200. OpenCV's filters are not
    widened when shrinking and alias.
    """
    # (1, 3, H, W) in channels_last memory; otherwise torch returns planes, in twice the time.
    batch = torch.from_numpy(np.ascontiguousarray(image))[None].permute(0, 3, 1, 2)
    out = interpolate(batch, size, mode=interpolation, antialias=True, align_corners=False)
    return out.permute(0, 2, 3, 1).numpy()[0]
