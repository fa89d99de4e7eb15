"""Pack a crop with what guided masking must know of it."""

from __future__ import annotations

from collections.abc import Sequence

from mmpretrain.datasets import PackInputs

from amt_mm.errors import InputError
from amt_mm.registry import TRANSFORMS


@TRANSFORMS.register_module()
class PackInputsWithBox(PackInputs):
    """Pack image, sample index, crop box and flip; a missing one is an error here.

    mmpretrain's parent leaves absent meta keys out without a word.

    Args:
        meta_keys: What to pack besides what the preprocessor reads. Defaults to
            the image's path.
        **kwargs: See :class:`mmpretrain.datasets.PackInputs`.

    Raises:
        InputError: No ``crop_box`` or no ``sample_idx`` reached this transform.
    """

    NEEDED = ('sample_idx', 'crop_box', 'flip', 'flip_direction')

    def __init__(self, meta_keys: Sequence[str] = ('img_path', ), **kwargs) -> None:
        super().__init__(meta_keys=tuple(dict.fromkeys([*meta_keys, *self.NEEDED])), **kwargs)

    def transform(self, results: dict) -> dict:
        """Pack; see the class."""
        for key, source in (('crop_box', 'the transform amt_mm.RandomResizedCropWithBox'),
                            ('sample_idx', 'a data set built on mmengine.BaseDataset')):
            if key not in results:
                raise InputError(f'no `{key}` came through the pipeline '
                                 f'(image {results.get("img_path", "without a path")}): '
                                 f'it is written by {source}')
        return super().transform(results)
