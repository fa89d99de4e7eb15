"""Read a file, and decode of it only what the random crop needs."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from mmcv.transforms import BaseTransform

from amt_mm.errors import InputError
from amt_mm.registry import TRANSFORMS

from .crop import RandomResizedCropWithBox
from .encoded import EncodedImage, encoded
from .loading import LoadImage, decode_image
from .resizing import resize_antialiased

# A JPEG is decoded at 1/2, 1/4 or 1/8 if the crop then still is this much larger than the output.
# At a margin of 1, high frequencies that Pillow's filter takes away would stay.
_MARGIN = 1.5


@TRANSFORMS.register_module()
class ReadImage(LoadImage):
    """Read an image file; the crop that follows decodes what it needs of it.

    For :class:`DecodeRandomResizedCrop` and in place of :class:`LoadImage`, with its
    promises on orientation, alpha and depth: what is not an upright 8-bit JPEG is
    decoded here and now.

    Required keys: ``img_path`` or ``img``. Added keys: ``img``, an
    :class:`~amt_mm.datasets.encoded.EncodedImage` or the array; ``img_shape``,
    ``ori_shape`` (both ``(height, width)``, after the EXIF orientation).

    Args:
        ignore_empty: See :class:`LoadImage`.
        backend_args: See :class:`LoadImage`.

    Raises:
        InputError: Names the file that cannot be read, and the reason.
    """

    def __init__(self, ignore_empty: bool = False, *, backend_args: dict | None = None) -> None:
        super().__init__(ignore_empty=ignore_empty, backend_args=backend_args)

    def _decode(self, content: bytes | memoryview, path: str) -> np.ndarray | EncodedImage:
        image = encoded(content, path)
        return decode_image(bytes(content)) if image is None else image


@TRANSFORMS.register_module()
class DecodeRandomResizedCrop(RandomResizedCropWithBox):
    """Draw a random resized crop, decode that part alone, resize it antialiased.

    Draws and box are those of :class:`RandomResizedCropWithBox`, pixels those of its
    Pillow backend, within 1 (but for one in 200). From a JPEG that is much larger than
    the output the crop is decoded at 1/2, 1/4 or 1/8 of the size, in the decoder's
    cosine transform, as long as it stays 1.5 times as large as the output. The crop's
    edges then lie on whole pixels of the reduced image, mean and standard deviation
    stay within 2 %, the power spectrum within 8 % up to half the highest frequency and
    a fifth below Pillow's at the highest.

    **Required keys:** img, from :class:`ReadImage` or as an array. **Modified keys:**
    img, img_shape. **Added keys:** crop_box.

    Args:
        scale: Output size: an int for a square, or ``(height, width)``.
        interpolation: ``'bicubic'`` (default, as in MAE) or ``'bilinear'``.
        backend: ``'pillow'``, the resizing that this one equals; anything else is
            refused, so that a config whose pixels would change does not run.
        **kwargs: See :class:`mmpretrain.datasets.RandomResizedCrop`.

    Raises:
        InputError: Another interpolation or backend; the image was flipped before; a
            file whose data are damaged.
    """

    def __init__(self, scale: int | tuple[int, int], interpolation: str = 'bicubic',
                 backend: str = 'pillow', **kwargs) -> None:
        super().__init__(scale, interpolation=interpolation, backend=backend, **kwargs)
        if interpolation not in ('bicubic', 'bilinear') or backend != 'pillow':
            raise InputError(
                f'DecodeRandomResizedCrop(interpolation={interpolation!r}, backend={backend!r}): '
                "it resizes antialiased, as backend='pillow' does, 'bicubic' or 'bilinear'; for "
                'another resizing use RandomResizedCropWithBox')

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
        results['img'] = resize_antialiased(results['img'], tuple(self.scale), self.interpolation)
        results['img_shape'] = results['img'].shape
        return results

    def whole_image(self, size: tuple[int, int] | None = None) -> list[BaseTransform]:
        """Transforms that take this one's place where whole images are wanted.

        Args:
            size: Height and width of the whole images. Defaults to the crops'.
        """
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
    """By how much the decoder may shrink a crop of this size."""
    room = min(height / scale[0], width / scale[1]) / _MARGIN
    return max(k for k in (1, 2, 4, 8) if k <= max(room, 1))
