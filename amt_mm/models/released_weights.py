"""ReleasedWeights: weights as AMT's released code computes them, a control for studies."""

from __future__ import annotations

import torch
from torch import Tensor

from amt_mm.registry import MODELS
from amt_mm.saliency import resample

from .data_preprocessor import AMTDataPreprocessor, read_crops


@MODELS.register_module()
class ReleasedWeights(AMTDataPreprocessor):
    """Take the weights of every crop from the top-left 2 x 2 cells of its image's map.

    The released code divides the offsets of the crop by the size of the image as whole numbers, so
    that it stretches these cells over any crop. Its masks are smooth in space and hardly depend on
    the image. Flips follow the crop.
    """

    def look_up_weights(self, samples: list, grid: tuple[int, int]) -> Tensor | None:
        """Look up the weights, ``(B, h * w)``; None if not needed."""
        if self.store is None or not self.mask_generator.needs_weights:
            return None
        sample_idx, boxes = read_crops(samples)
        maps = self.store.lookup(sample_idx).to(self.device)[:, :2, :2]
        corner = torch.tensor([[0., 0., 1., 1.]]).repeat(len(boxes), 1)
        # A flip is a reversed axis.
        for low, high in ((0, 2), (1, 3)):
            flipped = boxes[:, low] > boxes[:, high]
            corner[flipped, low], corner[flipped, high] = 1., 0.
        return resample(maps, corner.to(self.device), grid)
