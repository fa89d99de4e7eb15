"""Pictures of what the method does to one image, as (H, W, 3) uint8 RGB arrays.

``states`` of a plan are (h * w,) as in ``MaskPlan.states()[i]``: visible, masked or thrown,
row by row on a grid of h x w tokens whose cells tile the image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from ..errors import InputError
from ..masking.plan import MASKED, THROWN, VISIBLE
from .colours import apply_colours

_MASKED_GROUND, _MASKED_LINE = 58, 92  # dark grey, hatched
_THROWN_GROUND, _THROWN_LINE = 250, 190  # paper, crossed out


def denormalise(image: ArrayLike, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Undo the normalisation of an image.

    Args:
        image: (C, H, W), an array or a CPU tensor. Of more than three channels the first three
            are shown as RGB, of fewer the first as grey.
        mean: Per channel, on MMEngine's scale of 0 to 255.
        std: Likewise.

    Returns:
        (H, W, 3) uint8, clipped.
    """
    image = np.asarray(image, dtype=np.float64)
    if image.ndim != 3 or not len(image) == len(mean) == len(std):
        raise InputError(
            f'an image of shape {image.shape} with {len(mean)} means and {len(std)} deviations '
            'cannot be denormalised; give (C, H, W) and C of each')
    pixels = image.transpose(1, 2, 0) * np.asarray(std) + np.asarray(mean)  # (H, W, C)
    pixels = pixels[:, :, [0, 1, 2] if len(image) >= 3 else [0, 0, 0]]
    return np.rint(np.clip(np.nan_to_num(pixels), 0, 255)).astype(np.uint8)


def upscale(
    image: np.ndarray, grid: tuple[int, int], cell: int, smooth: bool = False) -> np.ndarray:
    """Resize an image so that each token of the grid is ``cell`` pixels wide and high.

    Args:
        image: (H, W, 3) uint8.
        grid: Rows and columns (h, w) of tokens.
        cell: Pixels per token.
        smooth: Interpolate bilinearly. Defaults to nearest neighbour, which shows a small
            image as the model sees it.

    Returns:
        (h * cell, w * cell, 3) uint8.
    """
    _check_image(image)
    if cell < 1 or min(grid) < 1:
        raise InputError(f'grid {grid} with {cell} pixels per token makes an empty picture')
    method = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    size = (grid[1] * cell, grid[0] * cell)
    return np.asarray(Image.fromarray(image).resize(size, method))


def saliency_overlay(image: np.ndarray, saliency: ArrayLike, strength: float = 0.6) -> np.ndarray:
    """Blend a saliency map with the image in greyscale: dark is ignored, bright attended.

    Args:
        image: (H, W, 3) uint8.
        saliency: (h, w) map of the whole image on any scale, stretched to its own range; a
            constant map is dark throughout.
        strength: Weight of the map in the blend. Defaults to .6, which shows both the
            colours and the object.

    Returns:
        (H, W, 3) uint8.
    """
    _check_image(image)
    saliency = np.asarray(saliency, dtype=np.float32)
    if saliency.ndim != 2 or saliency.size == 0 or not np.isfinite(saliency).all():
        raise InputError(f'saliency of shape {saliency.shape} must be a finite map (h, w)')
    low, high = saliency.min(), saliency.max()
    saliency = (saliency - low) / (high - low if high > low else 1)
    size = (image.shape[1], image.shape[0])
    smooth = Image.fromarray(saliency).resize(size, Image.Resampling.BILINEAR)
    grey = np.asarray(Image.fromarray(image).convert('L'), dtype=np.float32)[..., None]
    mixed = strength * apply_colours(np.asarray(smooth)) + (1 - strength) * grey
    return np.rint(mixed).astype(np.uint8)


def plan_picture(image: np.ndarray, states: ArrayLike, grid: tuple[int, int]) -> np.ndarray:
    """Show a plan: visible unchanged, masked dark and hatched, thrown white and crossed out.

    Args:
        image: (H, W, 3) uint8; the grid divides its sides.
        states: (h * w,) states of the tokens.
        grid: Rows and columns (h, w) of tokens.

    Returns:
        (H, W, 3) uint8.
    """
    state = _states_of_pixels(image, states, grid)  # (H, W)
    picture = _cross_out_thrown(image, state, grid)
    rows, columns = np.indices(state.shape)
    # Hatching continues across tokens; the period gives each token a few lines.
    period = max(3, min(_cell(image, grid)) // 3)
    hatch = (rows + columns) % period < max(1, period // 4)
    masked = np.where(hatch, _MASKED_LINE, _MASKED_GROUND)[..., None]
    return np.where((state == MASKED)[..., None], masked, picture).astype(np.uint8)


def paste_reconstruction(
    image: np.ndarray, reconstruction: np.ndarray, states: ArrayLike, grid: tuple[int, int]
) -> np.ndarray:
    """Show visible tokens unchanged, masked ones as predicted, thrown ones crossed out.

    Args:
        image: (H, W, 3) uint8; the grid divides its sides.
        reconstruction: (H, W, 3) uint8, used in the masked tokens only.
        states: (h * w,) states of the tokens.
        grid: Rows and columns (h, w) of tokens.

    Returns:
        (H, W, 3) uint8.
    """
    _check_image(reconstruction)
    if reconstruction.shape != image.shape:
        raise InputError(f'a reconstruction of shape {reconstruction.shape} does not fit '
                         f'the image of shape {image.shape}')
    state = _states_of_pixels(image, states, grid)
    picture = np.where((state == MASKED)[..., None], reconstruction, image)
    return _cross_out_thrown(picture, state, grid)


def _cross_out_thrown(image: np.ndarray, state: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Cross out the thrown tokens of ``state`` (H, W) in the image (H, W, 3)."""
    height, width = _cell(image, grid)
    down = (np.arange(height) + 0.5) / height  # (height,)
    across = (np.arange(width) + 0.5) / width  # (width,)
    # Distance to the diagonals as a fraction of the cell; lines are one to two pixels wide.
    rising = np.abs(1 - down[:, None] - across)
    falling = np.abs(down[:, None] - across)
    # A margin keeps neighbouring crosses apart, so that they can be counted.
    margin = (np.abs(down - 0.5)[:, None] < 0.3) & (np.abs(across - 0.5) < 0.3)
    line = (np.minimum(rising, falling) < 0.75 / min(height, width)) & margin
    cross = np.where(np.tile(line, grid), _THROWN_LINE, _THROWN_GROUND)[..., None]
    return np.where((state == THROWN)[..., None], cross, image).astype(np.uint8)


def _states_of_pixels(image: np.ndarray, states: ArrayLike, grid: tuple[int, int]) -> np.ndarray:
    """Return the state of each pixel, (H, W)."""
    _check_image(image)
    states = np.asarray(states)
    height, width = image.shape[:2]
    if min(grid) < 1 or height % grid[0] or width % grid[1]:
        raise InputError(f'a grid of {grid[0]} x {grid[1]} tokens does not divide an image of '
                         f'{height} x {width} pixels; upscale the image to the grid first')
    if states.shape != (grid[0] * grid[1],):
        raise InputError(f'states of shape {states.shape} do not fit {grid[0]} x {grid[1]} tokens; '
                         f'give ({grid[0] * grid[1]},)')
    if not np.isin(states, (VISIBLE, MASKED, THROWN)).all():
        raise InputError(f'states must be {VISIBLE} (visible), {MASKED} (masked) or '
                         f'{THROWN} (thrown)')
    cell = _cell(image, grid)
    return states.reshape(grid).repeat(cell[0], axis=0).repeat(cell[1], axis=1)


def _cell(image: np.ndarray, grid: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width of a token in pixels."""
    return image.shape[0] // grid[0], image.shape[1] // grid[1]


def _check_image(image: np.ndarray) -> None:
    """Raise InputError unless the image is non-empty (H, W, 3) uint8."""
    if image.ndim != 3 or image.shape[2] != 3 or image.size == 0 or image.dtype != np.uint8:
        raise InputError(
            f'an image has shape {image.shape} and type {image.dtype}; give (H, W, 3) uint8')
