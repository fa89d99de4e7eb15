"""Several crops of one decoded image."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from mmcv.transforms import BaseTransform
from mmengine.dataset import default_collate
from torch.utils.data import Dataset

from amt_mm.errors import InputError
from amt_mm.registry import FUNCTIONS, TRANSFORMS

from .encoded import EncodedImage


@TRANSFORMS.register_module()
class RepeatedCrops(BaseTransform):
    """Read an image once and make several crops of it, each with its own box and flip.

    Reading and decoding are half the work of the pipeline. One epoch covers each image
    ``repeats`` times, so divide epochs and images per batch by it; the crops of an image are in
    one batch. (Hoffer et al., "Augment your batch", CVPR 2020, repeat for another purpose.)

    Must be last in the pipeline, and requires ``collate_fn=dict(type='amt_mm.collate_repeats')``.

    Args:
        transforms: Of each crop: :class:`DecodeRandomResizedCrop` or
            :class:`RandomResizedCropWithBox`, flip, packing.
        repeats: Number of crops per image. Defaults to 2.

    Raises:
        InputError: ``repeats`` is less than 1.
    """

    def __init__(self, transforms: Sequence[dict | BaseTransform], repeats: int = 2) -> None:
        if repeats < 1:
            raise InputError(f'RepeatedCrops(repeats={repeats}): must be at least 1')
        self.transforms = [TRANSFORMS.build(each) if isinstance(each, dict) else each
                           for each in transforms]
        self.repeats = repeats

    def transform(self, results: dict) -> dict:
        """Make the crops.

        Returns:
            Lists of ``inputs``, ``(3, H, W)`` each, and of ``data_samples``, which share their
            ``sample_idx``.
        """
        if isinstance(results['img'], EncodedImage) and self.repeats > 1:
            # Crops overlap: decoding each would cost more than the whole image.
            results['img'] = results['img'].decode()
        crops = []
        for _ in range(self.repeats):
            crop = dict(results)
            for transform in self.transforms:
                crop = transform(crop)
            crops.append(crop)
        return {'inputs': [crop['inputs'] for crop in crops],
                'data_samples': [crop['data_samples'] for crop in crops]}


def crops_per_sample(dataset: Dataset) -> int:
    """Return how many crops :class:`RepeatedCrops` makes of each image of a training set."""
    # MMEngine's wrapper for `num_batch_per_epoch` calls it `_dataset`.
    inner = [getattr(dataset, name) for name in ('dataset', '_dataset') if hasattr(dataset, name)]
    inner = inner or getattr(dataset, 'datasets', ())  # of a concatenation
    if inner:
        return max(map(crops_per_sample, inner))
    transforms = getattr(getattr(dataset, 'pipeline', None), 'transforms', ())
    return math.prod(each.repeats for each in transforms if isinstance(each, RepeatedCrops))


@FUNCTIONS.register_module()
def collate_repeats(batch: Sequence[dict]) -> dict:
    """Collate the crops of all images into one batch, those of an image adjacent.

    Returns:
        ``inputs`` ``(B * repeats, 3, H, W)`` and the list ``data_samples``.
    """
    together = {name: list(itertools.chain(*(sample[name] for sample in batch)))
                for name in ('inputs', 'data_samples')}
    return {**together, 'inputs': default_collate(together['inputs'])}
