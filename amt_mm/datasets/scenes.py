"""Synthetic scenes with known objects: a data set without download."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from mmpretrain.datasets import BaseDataset

from amt_mm.checks import check_choice
from amt_mm.errors import InputError
from amt_mm.registry import DATASETS

from .scene_painting import STYLES, paint_scene

# Random stream of each split.
_STREAMS = {'train': 0, 'val': 1, 'test': 2}


@DATASETS.register_module()
class SceneDataset(BaseDataset):
    """One textured object on a background per image, with its exact mask.

    There are 10 classes: in ``'plain'`` scenes 10 upright shapes of any texture, in ``'cluttered'``
    ones the pairs of 2 shapes and 5 textures. Colour, position, scale, stretch, rotation and light
    are distributed equally in all classes, and a cluttered background has patches of the same
    textures, so neither the mean colour nor a local texture reveals the class. A scene depends only
    on ``(seed, split, index, image_size, style)``, not on ``num_samples``, and classes alternate by
    index.

    Scenes are painted in :meth:`full_init`, once for all data sets of a process that have the same
    ones (the last four kinds are kept), and stored as ``uint8`` (masks as bits): 4,000
    scenes of 96 x 96 take 115 MB, which forked loader workers share.

    A sample has ``img`` (``uint8`` BGR of shape ``(H, W, 3)``, as image loaders return it, so the
    pipeline needs none), ``img_shape``, ``ori_shape``, ``gt_label``, ``sample_idx`` and
    ``img_path``, a name such as ``'scene_train_seed0_000012'``.

    Args:
        num_samples: Number of scenes, at least 1.
        image_size: Side, or ``(height, width)``, in pixels; at least 32, and one side at most
            twice the other, so that objects keep their size. Defaults to 96: objects are then
            several patches of 8 wide.
        seed: Of the random streams, 0 or more. Defaults to 0.
        split: ``'train'``, ``'val'`` or ``'test'``, with disjoint streams. Defaults to
            ``'train'``.
        style: ``'plain'``, which a run of minutes learns, or ``'cluttered'``, which takes long.
            Defaults to ``'cluttered'``.
        **kwargs: Of :class:`mmpretrain.datasets.BaseDataset`: ``pipeline``, ``indices``,
            ``test_mode``, ``lazy_init``, ...

    Raises:
        InputError: An argument is out of range.
    """

    def __init__(self, num_samples: int, image_size: int | tuple[int, int] = 96, seed: int = 0,
                 split: str = 'train', style: str = 'cluttered', **kwargs) -> None:
        height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
        if min(height, width) < 32 or max(height, width) > 2 * min(height, width):
            raise InputError(f'image_size={image_size}: sides must be at least 32 pixels, one at '
                             'most twice the other.')
        check_choice('split', split, _STREAMS)
        check_choice('style', style, STYLES)
        if num_samples < 1:
            raise InputError(f'num_samples={num_samples}: must be at least 1.')
        if seed < 0:
            raise InputError(f'seed={seed}: must be 0 or more.')
        self._style_name = style
        self.style = STYLES[style]
        self.num_samples = num_samples
        self.image_size = (height, width)
        self.seed = seed
        self.split = split
        kwargs.setdefault('metainfo', dict(classes=self.style.classes))
        super().__init__(ann_file='', **kwargs)

    def load_data_list(self) -> list[dict]:
        """Paint all scenes, and list their names and labels."""
        self._painted = _paint(
            self.num_samples, self.image_size, self.seed, self.split, self._style_name)
        return [{'img_path': f'scene_{self.split}_seed{self.seed}_{index:06d}',
                 'gt_label': index % len(self.style.classes), 'scene': index}
                for index in range(self.num_samples)]

    def get_data_info(self, idx: int) -> dict:
        """Return a sample before its pipeline, with its own copy of the image."""
        info = super().get_data_info(idx)
        info['img'] = self._painted.images[info.pop('scene')].copy()
        info['img_shape'] = info['ori_shape'] = self.image_size
        return info

    def object_mask(self, idx: int) -> np.ndarray:
        """Return the object mask, ``bool (H, W)``: pixels covered at least by half."""
        scene = super().get_data_info(idx)['scene']
        height, width = self.image_size
        bits = np.unpackbits(self._painted.masks[scene], count=height * width)
        return bits.reshape(height, width).astype(bool)

    def extra_repr(self) -> list[str]:
        """Describe the scenes in place of the parent's files."""
        return [f'Scenes: \t{self.split}, seed {self.seed}, {self.image_size} pixels']


@dataclass(frozen=True)
class _Painted:
    """Images and packed masks of all scenes."""

    images: np.ndarray  # (N, H, W, 3) uint8, BGR
    masks: np.ndarray  # (N, ceil(H * W / 8)) uint8

    def __deepcopy__(self, memo: dict) -> _Painted:
        # `get_subset` copies deeply; these are read-only, so share them.
        return self


# Training, probe, timing and pictures of one run each build the same scenes, of two splits.
@lru_cache(maxsize=4)
def _paint(count: int, size: tuple[int, int], seed: int, split: str, style: str) -> _Painted:
    height, width = size
    images = np.empty((count, height, width, 3), np.uint8)
    packed = np.empty((count, (height * width + 7) // 8), np.uint8)
    for index in range(count):
        rng = np.random.default_rng((seed, _STREAMS[split], index))
        images[index], mask = paint_scene(
            rng, index % len(STYLES[style].classes), size, STYLES[style])
        packed[index] = np.packbits(mask)
    # Shared, so that nobody may write to them.
    images.flags.writeable = packed.flags.writeable = False
    return _Painted(images, packed)
