"""Change images in parts: paint patches in an order, shuffle tiles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn

from amt_mm.checks import check_numbers
from amt_mm.errors import InputError


def check_ratios(name: str, ratios: Sequence[float]) -> None:
    """Raise InputError unless ``ratios`` are shares of the patches, at least one.

    Args:
        name: Their name in the message.
        ratios: The shares.
    """
    check_numbers(name, ratios)
    if not ratios or min(ratios) < 0 or max(ratios) > 1:
        raise InputError(f'{name}={list(ratios)}: give at least one share of patches, each from 0 '
                         'to 1')


def painted(ratio: float, patches: int) -> int:
    """Return how many of ``patches`` the share ``ratio`` is, rounded down."""
    # As the decimal that one writes: .29 of 100 are 29, although 100 * .29 is less.
    return math.floor(patches * Fraction(str(ratio)))


def patch_size(vit: nn.Module) -> tuple[int, int]:
    """Return height and width of the patches of mmpretrain's transformer, in pixels."""
    return tuple(vit.patch_embed.projection.kernel_size)


def patch_order(order: str, scores: Tensor, seed: int, places: Tensor) -> Tensor:
    """Return the patches in the order of painting, ``(B, N)``.

    Args:
        order: Of :data:`amt_mm.names.ORDERS`. Ties are painted in the order of the grid.
        scores: ``(B, N)``, attention to each patch.
        seed: Seed of ``'random'``, whose order depends only on it and the image's place.
        places: ``(B,)``, places of the images in their data set.
    """
    if order == 'random':
        drawn = [np.random.default_rng([seed, place]).permutation(scores.shape[1])
                 for place in places.tolist()]
        return torch.from_numpy(np.stack(drawn)).to(scores.device)
    return scores.argsort(dim=1, descending=order == 'high', stable=True)


def paint_patches(images: Tensor, patches: Tensor, size: tuple[int, int], colour: Tensor
                  ) -> Tensor:
    """Return images with some patches filled with a colour.

    Args:
        images: ``(B, C, H, W)``.
        patches: Indices of patches, row by row, ``(B, n)``.
        size: Height and width of a patch in pixels.
        colour: ``(C,)``.

    Raises:
        InputError: The images are not a multiple of the patch size.
    """
    rows, columns = images.shape[2] // size[0], images.shape[3] // size[1]
    if (rows * size[0], columns * size[1]) != tuple(images.shape[2:]):
        raise InputError(f'images of {images.shape[2]}x{images.shape[3]} pixels are not a multiple '
                         f'of the patch size {size[0]}x{size[1]}: crop them')
    hidden = torch.zeros(len(images), rows * columns, dtype=torch.bool, device=images.device)
    hidden.scatter_(1, patches, True)
    hidden = hidden.unflatten(1, (1, rows, columns))  # (B, 1, rows, columns)
    hidden = hidden.repeat_interleave(size[0], 2).repeat_interleave(size[1], 3)
    return torch.where(hidden, colour.to(images).view(-1, 1, 1), images)


def black_pixel(preprocessor: nn.Module, images: Tensor) -> Tensor:
    """Return a black pixel as the preprocessor normalises it, ``(C,)``."""
    zeros = images.new_zeros(images.shape[1])
    if not getattr(preprocessor, '_enable_normalize', False):
        return zeros
    return (zeros - preprocessor.mean.flatten()) / preprocessor.std.flatten()


def shuffle_tiles(images: Tensor, grid: int, seed: int, places: Tensor) -> Tensor:
    """Cut each image into ``grid x grid`` tiles and put them together in random order.

    Args:
        images: ``(B, C, H, W)``.
        grid: Tiles along a side.
        seed: Seed of the order, which depends only on it and the image's place.
        places: ``(B,)``, places of the images in their data set.

    Raises:
        InputError: The images do not divide into so many tiles.
    """
    height, width = images.shape[2:]
    if height % grid or width % grid:
        raise InputError(f'images of {height}x{width} pixels do not divide into {grid}x{grid} '
                         'tiles: give divisors of both (test_cfg.grids)')
    tiles = images.unflatten(3, (grid, -1)).unflatten(2, (grid, -1))  # (B, C, g, h, g, w)
    tiles = tiles.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)  # (B, g g, C, h, w)
    order = patch_order('random', images.new_empty(len(images), grid * grid), seed, places)
    tiles = tiles[torch.arange(len(images))[:, None], order]
    tiles = tiles.unflatten(1, (grid, grid)).permute(0, 3, 1, 4, 2, 5)  # (B, C, g, h, g, w)
    return tiles.flatten(4, 5).flatten(2, 3)
