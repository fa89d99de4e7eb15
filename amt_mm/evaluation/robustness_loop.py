"""RobustnessTestLoop: k-NN accuracy on occluded and shuffled images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from mmengine.runner.amp import autocast
from torch import Tensor

from amt_mm.checks import check_numbers
from amt_mm.errors import InputError
from amt_mm.models.unwrapped import unwrapped
from amt_mm.registry import LOOPS

from .attention_guide import attention_to_patches, load_guide
from .dataset_features import LabelledFeatures, has_cls, image_features
from .dataset_knn import knn_accuracies
from .feature_loop import FeatureTestLoop
from .occlusion import (
    black_pixel,
    check_ratios,
    paint_patches,
    painted,
    patch_order,
    patch_size,
    shuffle_tiles,
)

# What a measure is called -> the order of painting.
OCCLUSIONS = {'random': 'random', 'salient': 'high', 'nonsalient': 'low'}


@LOOPS.register_module()
class RobustnessTestLoop(FeatureTestLoop):
    """Classify test images with painted patches, and with shuffled tiles, by k-NN.

    After Naseer et al., "Intriguing Properties of Vision Transformers" (NeurIPS 2021, sections 3.1
    and 3.3); the training images stay as they are. It reports accuracies in per cent:

    - ``robustness/top1`` of the test images as they are;
    - ``robustness/random_50``, ``salient_50`` and ``nonsalient_50`` with 50 % of the patches
      (rounded down) painted black: random ones, those with the highest and those with the lowest
      attention of [CLS] in the last block of the encoder, or of ``guide``, mean over heads, on
      the whole image. Patches of one share are also painted at all larger ones. An encoder without
      [CLS] and without a guide has ``random`` only, which the log says;
    - ``robustness/shuffle_4x4`` with 4x4 tiles in random order.

    Each of them encodes all test images once more.

    Args:
        *args, **kwargs: See :class:`~amt_mm.evaluation.feature_loop.FeatureTestLoop`.
        ratios: Shares of painted patches. Defaults to .1, .3, .5, .7 and .9.
        grids: Tiles along a side. Defaults to 2, 4 and 8.
        k: Neighbours. Defaults to 20, as DINO found best.
        seed: Seed of random patches and tiles, which depend only on it and the place of an image:
            they are the same for all checkpoints, whatever the seed of the run. Defaults to 0.
        guide: Checkpoint of the encoder whose attention tells salient patches, see
            :func:`~amt_mm.evaluation.attention_guide.load_guide`. Defaults to None: the evaluated
            encoder.

    Raises:
        InputError: A share is not from 0 to 1, a number is below 1, or the images do not divide
            into the tiles; and see the parent.
    """

    prefix = 'robustness'

    def __init__(self, *args, ratios: Sequence[float] = (.1, .3, .5, .7, .9),
                 grids: Sequence[int] = (2, 4, 8), k: int = 20, seed: int = 0,
                 guide: str | None = None, **kwargs) -> None:
        check_ratios('test_cfg.ratios', ratios)
        check_numbers('test_cfg.grids', grids)
        if min([k, *grids]) < 1:
            raise InputError(f'test_cfg.grids={list(grids)}, k={k}: all must be 1 or more')
        super().__init__(*args, **kwargs)
        self.ratios = tuple(ratios)
        self.grids = tuple(grids)
        self.k = k
        self.seed = seed
        vit = unwrapped(self.runner).backbone
        self.guide = load_guide(guide, vit) if guide else None
        # Attention to the patches of each test image, once it is known.
        self.attention: Tensor | None = None
        sides = [n * size for n, size in zip(vit.patch_resolution, patch_size(vit), strict=True)]
        for grid in self.grids:
            # Before anything is encoded.
            shuffle_tiles(torch.zeros(1, 1, *sides), grid, seed, torch.zeros(1, dtype=torch.int64))

    def measure(self, train: LabelledFeatures, test: LabelledFeatures) -> dict[str, float]:
        """Return the accuracy of each change."""
        found = {'top1': self.accuracy(train, test.features[self.pooling], test.labels)}
        for name, change in self.changes().items():
            with autocast(enabled=self.fp16):
                features = image_features(unwrapped(self.runner), self.dataloader, [self.pooling],
                                          name, change=change)
            found[name] = self.accuracy(train, features[self.pooling], test.labels)
        return found

    def accuracy(self, train: LabelledFeatures, features: Tensor, labels: Tensor) -> float:
        """Return the k-NN accuracy of test features ``(n, D)`` in per cent."""
        return knn_accuracies(train.features[self.pooling], train.labels, features, labels,
                              [self.k], device=self.device)[f'top1_k{self.k}']

    def changes(self) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
        """Return what is done to normalised images and their places, by name."""
        occlusions = OCCLUSIONS
        if self.guide is None and not has_cls(unwrapped(self.runner)):
            self.runner.logger.warning('The encoder has no [CLS] token, whose attention tells '
                                       'salient patches: only random ones are painted; '
                                       'test_cfg.guide names an encoder that has one')
            occlusions = {'random': 'random'}
        return {
            **{f'{name}_{100 * ratio:g}': partial(self.occlude, order, ratio)
               for name, order in occlusions.items() for ratio in self.ratios},
            **{f'shuffle_{grid}x{grid}': partial(self.shuffle, grid) for grid in self.grids}}

    def occlude(self, order: str, ratio: float, images: Tensor, places: Tensor) -> Tensor:
        """Paint patches of images ``(B, C, H, W)``."""
        model = unwrapped(self.runner)
        vit = model.backbone
        scores = (images.new_zeros(len(images), math.prod(vit.patch_resolution))
                  if order == 'random' else self.scores(images, places))  # (B, N)
        patches = patch_order(order, scores, self.seed, places)
        return paint_patches(images, patches[:, :painted(ratio, scores.shape[1])],
                             patch_size(vit), black_pixel(model.data_preprocessor, images))

    def scores(self, images: Tensor, places: Tensor) -> Tensor:
        """Return the attention to each patch, ``(B, N)``, which the first change computes."""
        vit = unwrapped(self.runner).backbone
        if self.attention is None:
            self.attention = torch.full(
                (len(self.dataloader.dataset), math.prod(vit.patch_resolution)), math.nan)
        if self.attention[places].isnan().any():
            self.attention[places] = attention_to_patches(vit, images, self.guide).cpu()
        return self.attention[places].to(images.device)

    def shuffle(self, grid: int, images: Tensor, places: Tensor) -> Tensor:
        """Shuffle the tiles of images ``(B, C, H, W)``."""
        return shuffle_tiles(images, grid, self.seed, places)
