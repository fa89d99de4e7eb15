"""ImageHOG: predict the histograms of oriented gradients of an image from one feature."""

from __future__ import annotations

import math

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

_BINS = 9  # as in Dalal and Triggs
# Contrast below which a cell counts as flat; of pixels with unit variance.
_FLAT = 0.05


class ImageHOG(BaseModule):
    """A two-layer perceptron from the feature of an image to :func:`oriented_gradients`.

    Args:
        embed_dims: Width D of the feature.
        grid: Rows and columns of patches; each is a cell of the histograms.
        patch_size: Side of a patch in pixels.
        hidden_dims: Width of the hidden layer. Defaults to 512.
    """

    def __init__(self, embed_dims: int, grid: tuple[int, int], patch_size: int,
                 hidden_dims: int = 512) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.layers = nn.Sequential(
            nn.Linear(embed_dims, hidden_dims), nn.GELU(),
            nn.Linear(hidden_dims, _BINS * grid[0] * grid[1]))

    def forward(self, features: Tensor, images: Tensor) -> Tensor:
        """Compute the mean squared error of the predicted histograms.

        Args:
            features: ``(B, D)``.
            images: Normalised, ``(B, C, H, W)``.

        Returns:
            Scalar; 1 is reached by predicting 0.
        """
        target = oriented_gradients(images, self.patch_size).flatten(1)
        std, mean = torch.std_mean(target, dim=1, keepdim=True)
        return F.mse_loss(self.layers(features), (target - mean) / (std + 1e-4))


@torch.no_grad()
def oriented_gradients(images: Tensor, cell: int) -> Tensor:
    """Compute histograms of oriented gradients (Dalal and Triggs, CVPR 2005) of grey images.

    Central differences, votes by magnitude for the two nearest of nine orientations of 0 to 180
    degrees, each cell divided by the root mean square norm of its neighbourhood of 3 x 3 cells. In
    fp32 under autocast, too: half precision would move orientations to other bins.

    Args:
        images: ``(B, C, H, W)``, with variance of about 1; channels are averaged.
        cell: Side of a cell in pixels, by which both sides are divisible.

    Returns:
        ``(B, 9, H / cell, W / cell)`` fp32.
    """
    with torch.autocast(images.device.type, enabled=False):
        grey = F.pad(images.float().mean(dim=1, keepdim=True), (1, 1, 1, 1), mode='replicate')
        across = grey[:, :, 1:-1, 2:] - grey[:, :, 1:-1, :-2]
        down = grey[:, :, 2:, 1:-1] - grey[:, :, :-2, 1:-1]
        magnitude = (across.square() + down.square()).sqrt()
        angle = torch.atan2(down, across).remainder(math.pi) * (_BINS / math.pi)
        first = angle.floor()
        share = angle - first
        first = first.long() % _BINS
        votes = magnitude.new_zeros(len(images), _BINS, *images.shape[2:])
        votes.scatter_(1, first, magnitude * (1 - share))
        votes.scatter_(1, (first + 1) % _BINS, magnitude * share)
        cells = F.avg_pool2d(votes, cell)
        energy = cells.square().sum(dim=1, keepdim=True)
        around = F.avg_pool2d(energy, 3, stride=1, padding=1, count_include_pad=False).sqrt()
        return cells / (around + _FLAT)
