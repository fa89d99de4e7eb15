"""ReleasedWeights: weights as AMT's released code computes them, a control for studies."""

from __future__ import annotations

import torch
from torch import Tensor

from amt_mm.registry import MODELS

from .data_preprocessor import AMTDataPreprocessor


@MODELS.register_module()
class ReleasedWeights(AMTDataPreprocessor):
    """Take the weights of every crop from the top-left 2 x 2 cells of its image's map.

    The released code divides the offsets of the crop by the size of the image as whole numbers, so
    that it stretches these cells over any crop. Its masks are smooth in space and hardly depend on
    the image. Flips follow the crop.
    """

    def window(self, maps: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the corner of each map and the whole of it as the crop, flipped as the crop is."""
        start = (boxes[:, :2] > boxes[:, 2:]).float()  # a flip is a reversed axis
        return maps[:, :2, :2], torch.cat([start, 1 - start], dim=1)
