"""Rotary positions: queries and keys of patches are turned by angles that tell where they are."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amt_mm.checkpoints.dinov3 import rotary_periods
from amt_mm.errors import InputError

from .blocks import Attention, Block


class RotaryPositions(nn.Module):
    """Angles of axial rotary positions as in DINOv3 (Siméoni et al., 2025, section 3.2).

    The centres of patches have coordinates in [-1, 1] on each axis, whatever the size of the image,
    so that nothing is resized for another one. A coordinate ``x`` gives the angles ``2 pi x / p``
    for all ``periods`` p. A head's channels have the angles of the row, then of the column, and
    then both again: channel ``i`` is turned with channel ``i + head_width / 2`` (RoPE, Su et al.,
    2021). The random shifts and scales of coordinates in DINOv3's training are left out.

    Args:
        head_width: Channels of a head, a multiple of 4.

    Attributes:
        periods: ``(head_width / 4,)``, from 1 to nearly 100; part of the weights, since the
            published files have them rounded to bfloat16.

    Raises:
        InputError: ``head_width`` is not a multiple of 4.
    """

    def __init__(self, head_width: int) -> None:
        super().__init__()
        if head_width % 4:
            raise InputError('rotary positions need heads whose width is a multiple of 4, not '
                             f'{head_width}: set another model.backbone.arch')
        self.register_buffer('periods', rotary_periods(head_width))

    def forward(self, grid: tuple[int, int], others: int, kept: Tensor | None = None) -> Tensor:
        """Compute the rotation of all tokens.

        Args:
            grid: Rows and columns of patches ``(h, w)``.
            others: Number of tokens before the patches, which are not turned.
            kept: Indices of the patches that there are, ``(B, n)``. Defaults to None: all.

        Returns:
            Cosines and sines, ``(2, others + h * w, head_width)`` fp32; with ``kept``, those of
            each image, ``(2, B, 1, others + n, head_width)``.
        """
        axes = [(2 * torch.arange(count, device=self.periods.device) + 1) / count - 1
                for count in grid]
        centres = torch.cartesian_prod(*axes)  # (h * w, 2): row, column
        angles = 2 * math.pi * centres[:, :, None] / self.periods.float()  # (h * w, 2, head / 4)
        angles = angles.flatten(1).repeat(1, 2)  # (h * w, head)
        angles = torch.cat([angles.new_zeros(others, angles.shape[1]), angles])
        rotation = torch.stack([angles.cos(), angles.sin()])
        if kept is None:
            return rotation
        first = torch.arange(others, device=kept.device).expand(len(kept), -1)
        return rotation[:, torch.cat([first, others + kept], dim=1)].unsqueeze(2)


class FixedKeyBias(nn.Linear):
    """Joined projection to queries, keys and values whose bias of keys is not trained.

    DINOv3 has none, so its files have no place for one that rotated keys would learn. A plain
    softmax does not depend on it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., D)`` to ``(..., 3 * D)``."""
        if self.bias is None:
            return super().forward(x)
        query, key, value = self.bias.chunk(3)
        return F.linear(x, self.weight, torch.cat([query, key.detach(), value]))


class RotaryAttention(Attention):
    """Attention whose queries and keys are rotated."""

    def forward(self, x: Tensor, rotation: Tensor) -> Tensor:
        """Attend to all tokens.

        Args:
            x: ``(B, N, D)``.
            rotation: Of :class:`RotaryPositions`.

        Returns:
            ``(B, N, D)``.
        """
        query, key, value = self.split(x)  # (B, heads, N, D / heads) each
        return self.attend(self.rotate(query, rotation), self.rotate(key, rotation), value)

    @staticmethod
    def rotate(tokens: Tensor, rotation: Tensor) -> Tensor:
        """Rotate ``(..., N, D / heads)`` queries or keys, in fp32."""
        cosine, sine = rotation
        first, second = tokens.chunk(2, dim=-1)
        turned = tokens * cosine + torch.cat([-second, first], dim=-1) * sine
        return turned.to(tokens.dtype)


class RotaryBlock(Block):
    """Block that passes on the rotation to its attention."""

    def forward(self, x: Tensor, rotation: Tensor) -> Tensor:
        """Run the block, see :class:`RotaryAttention`."""
        x = x + self.attn(self.ln1(x), rotation)
        return self.ffn(self.ln2(x), identity=x)


def use_rotary_blocks(blocks: Iterable[nn.Module]) -> None:
    """Change the classes of mmpretrain's blocks to those above, in place; keys have no bias.

    As for :func:`~amt_mm.models.blocks.use_fast_blocks`, mmpretrain hard-codes their class.
    """
    for block in blocks:
        block.__class__ = RotaryBlock
        block.attn.__class__ = RotaryAttention
        block.attn.qkv.__class__ = FixedKeyBias
        if block.attn.qkv.bias is not None:
            block.attn.qkv.bias.data.chunk(3)[1].zero_()
