"""Cut images into patches and select tokens by id, with static shapes."""

from __future__ import annotations

from torch import Tensor

from amt_mm.errors import InputError


def patch_grid(height: int, width: int, patch_size: int) -> tuple[int, int]:
    """Compute the rows and columns of patches of an image.

    Raises:
        InputError: The image size is not a multiple of the patch size.
    """
    if height % patch_size or width % patch_size:
        raise InputError(f'an image of {height}x{width} pixels (height x width) is not a multiple '
                         f'of patch_size={patch_size}; change the crop size or the patch size')
    return height // patch_size, width // patch_size


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut images into patches, each a vector of (row, column, channel).

    Args:
        images: ``(B, C, H, W)``.
        patch_size: Side P of a patch, in pixels.

    Returns:
        ``(B, N, P * P * C)``, patches row by row.
    """
    batch, channels, height, width = images.shape
    rows, columns = patch_grid(height, width, patch_size)
    patches = images.reshape(batch, channels, rows, patch_size, columns, patch_size)
    # (B, rows, columns, P, P, C)
    return patches.permute(0, 2, 4, 3, 5, 1).reshape(batch, rows * columns, -1)


def unpatchify(patches: Tensor, grid: tuple[int, int], patch_size: int) -> Tensor:
    """Reassemble images from patches; the inverse of :func:`patchify`.

    Args:
        patches: ``(B, N, P * P * C)``.
        grid: Rows and columns, ``h * w = N``.
        patch_size: Side P of a patch, in pixels.

    Returns:
        ``(B, C, h * P, w * P)``.
    """
    batch = patches.shape[0]
    rows, columns = grid
    images = patches.reshape(batch, rows, columns, patch_size, patch_size, -1)
    return images.permute(0, 5, 1, 3, 2, 4).reshape(
        batch, -1, rows * patch_size, columns * patch_size)


def take_tokens(tokens: Tensor, ids: Tensor) -> Tensor:
    """Select tokens by id.

    Args:
        tokens: ``(B, N, D)``.
        ids: ``(B, n)`` int64.

    Returns:
        ``(B, n, D)``.
    """
    return tokens.gather(1, ids.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def place_tokens(tokens: Tensor, ids: Tensor, onto: Tensor) -> Tensor:
    """Write tokens at their ids into a copy of a full set.

    Args:
        tokens: ``(B, n, D)``.
        ids: ``(B, n)`` int64, unique within a sample.
        onto: ``(B, N, D)``.

    Returns:
        ``(B, N, D)``.
    """
    return onto.scatter(1, ids.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]), tokens)
