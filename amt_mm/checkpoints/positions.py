"""Resize position embeddings from one grid of patches to another."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor, cat
from torch.nn import functional as F

from amt_mm.errors import InputError

Grid = tuple[int, int]


def fit_positions(positions: Tensor, own: Tensor, with_cls: bool, own_with_cls: bool,
                  grid: Grid | None = None, own_grid: Grid | None = None
                  ) -> tuple[Tensor, Grid | None, Grid | None]:
    """Resize the position embeddings of a checkpoint to those of a model.

    Patch positions are interpolated over the image (bicubic, fp32), as ViT does for another image
    size; that of [CLS] stays.

    Args:
        positions: Of the checkpoint, ``(1, N, D)``, ``(1, 1 + N, D)`` with [CLS] or
            ``(1, h, w, D)``.
        own: Of the model, in one of these shapes; its [CLS] position is used if the checkpoint
            has none.
        with_cls: Whether the checkpoint's first position is that of [CLS].
        own_with_cls: The same for the model.
        grid: Rows and columns of patches in the checkpoint. If None or contradicting their
            number: the model's if it fits, else a square.
        own_grid: The same for the model; None for a square.

    Returns:
        Embeddings in the shape of ``own``, and the grids from and to which they were resized
        (both None if they were not).

    Raises:
        InputError: The grid is unknown and not square.
    """
    own_flat, own_grid = _flat(own, own_with_cls, own_grid, None)
    flat, grid = _flat(positions, with_cls, grid, own_grid)
    if grid is None or own_grid is None:
        raise InputError(f'{flat.shape[1]} position embeddings cannot be resized to '
                         f'{own_flat.shape[1]}: neither the checkpoint nor its config gives their '
                         'rows and columns of patches, and the grid is not square')
    patches = flat[:, int(with_cls and positions.ndim == 3):]
    if grid != own_grid:
        image = patches.unflatten(1, grid).permute(0, 3, 1, 2).float()  # (1, D, h, w)
        image = F.interpolate(image, own_grid, mode='bicubic', align_corners=False)
        patches = image.flatten(2).transpose(1, 2).to(positions.dtype)
    if own_with_cls and own.ndim == 3:
        first = flat[:, :1] if with_cls and positions.ndim == 3 else own[:, :1].to(patches.dtype)
        patches = cat([first, patches], dim=1)
    resized = (grid, own_grid) if grid != own_grid else (None, None)
    return patches.reshape(own.shape), *resized


def lacks_cls_position(positions: Tensor, grids: Iterable[Grid | None], guess: bool) -> bool:
    """Whether the position embeddings of an encoder with [CLS] are those of its patches alone.

    DeiT III (Touvron et al., ECCV 2022) adds position embeddings before it prepends [CLS]; timm
    calls that ``no_embed_class``.

    Args:
        positions: ``(1, N, D)`` or ``(1, h, w, D)``.
        grids: Rows and columns of patches that it may have.
        guess: Whether a square number of positions is that of the patches of a square image where
            no grid tells; it may also be k - 1 rows, k + 1 columns and [CLS].
    """
    if positions.ndim == 4:
        return False
    count, areas = positions.shape[1], [grid[0] * grid[1] for grid in grids if grid is not None]
    if count - 1 in areas or count in areas:
        return count - 1 not in areas
    return guess and not _is_square(count - 1) and _is_square(count)


def _is_square(number: int) -> bool:
    return math.isqrt(number)**2 == number


def _flat(positions: Tensor, with_cls: bool, grid: Grid | None, other: Grid | None
          ) -> tuple[Tensor, Grid | None]:
    """Embeddings as a sequence, and their grid if it can be determined."""
    if positions.ndim == 4:
        return positions.flatten(1, 2), tuple(positions.shape[1:3])
    count = positions.shape[1] - int(with_cls)
    for guess in (grid, other, (math.isqrt(max(count, 0)),) * 2):
        if guess is not None and guess[0] * guess[1] == count:
            return positions, tuple(guess)
    return positions, None
