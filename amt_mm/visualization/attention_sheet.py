"""One picture of the attention of all heads in all blocks."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..errors import InputError
from .pictures import saliency_overlay, upscale

_PAPER, _INK, _GAP = (250, 250, 247), (60, 64, 72), 3


def attention_sheet(image: np.ndarray, attention: np.ndarray, width: int = 1060) -> np.ndarray:
    """Lay out attention maps over an image: a row for each block, a column for each head.

    Args:
        image: (H, W, 3) uint8.
        attention: (blocks, heads, h, w), of any scale; each map is stretched to its own range.
        width: Most pixels of the sheet. Defaults to the width of a page; a map is at most 84
            pixels wide, at least 24.

    Returns:
        (height, width, 3) uint8, with the numbers of blocks and heads on its borders.
    """
    if attention.ndim != 4 or attention.size == 0:
        raise InputError(f'attention of shape {attention.shape} must be (blocks, heads, h, w)')
    blocks, heads, rows, columns = attention.shape
    font = ImageFont.load_default(size=11)
    left, top = 52, 20
    across = max(24, min(84, (width - left) // heads - _GAP))
    cell = max(1, across // columns)
    small = upscale(image, (rows, columns), cell, smooth=True)
    high, across = small.shape[:2]
    sheet = Image.new('RGB', (left + heads * (across + _GAP), top + blocks * (high + _GAP)), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for head in range(heads):
        x = left + head * (across + _GAP)
        label = f'head {head + 1}' if across >= 48 else f'{head + 1}'
        draw.text((x + across // 2, top // 2), label, _INK, font, anchor='mm')
    for block in range(blocks):
        y = top + block * (high + _GAP)
        draw.text((left - 8, y + high // 2), f'block {block + 1}', _INK, font, anchor='rm')
        for head in range(heads):
            overlay = saliency_overlay(small, attention[block, head])
            sheet.paste(Image.fromarray(overlay), (left + head * (across + _GAP), y))
    return np.asarray(sheet)
