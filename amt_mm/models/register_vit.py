"""RegisterViT: vision transformer with register tokens."""

from __future__ import annotations

import torch
from mmpretrain.models import VisionTransformer
from torch import Tensor, nn

from amt_mm.errors import InputError
from amt_mm.registry import MODELS


@MODELS.register_module()
class RegisterViT(VisionTransformer):
    """mmpretrain's vision transformer, with register tokens between [CLS] and patches.

    Registers have no positions, take part in all blocks and are not returned (Darcet et al.,
    ICLR 2024, "Vision Transformers Need Registers"), so whatever reads the outputs of an encoder
    reads those of this one.

    Args:
        *args: See :class:`mmpretrain.models.VisionTransformer`.
        num_registers: Defaults to 0: none. DINOv2 has 4 in the variants that have any.
        **kwargs: As ``*args``.

    Raises:
        InputError: ``num_registers`` is invalid, or there is no [CLS] before the registers.
    """

    def __init__(self, *args, num_registers: int = 0, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if type(num_registers) is not int or num_registers < 0:
            raise InputError(f'model.backbone.num_registers={num_registers!r} must be a whole '
                             'number, at least 0')
        if num_registers and self.cls_token is None:
            raise InputError('model.backbone.num_registers needs a [CLS] token: set '
                             'with_cls_token=True')
        self.num_registers = num_registers
        if num_registers:
            self.pre_norm = InsertRegisters(self.pre_norm, num_registers, self.embed_dims)

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens before the patches inside the blocks, as timm calls them."""
        return self.num_extra_tokens + self.num_registers

    def _format_output(self, x: Tensor, hw: tuple[int, int]) -> Tensor:
        if self.num_registers:
            x = torch.cat([x[:, :1], x[:, 1 + self.num_registers:]], dim=1)
        return super()._format_output(x, hw)


class InsertRegisters(nn.Module):
    """Insert register tokens after [CLS]; takes the place of the norm before the first block.

    Args:
        norm: The former module in this place.
        count: Number of registers.
        width: Embedding dimensions.
    """

    def __init__(self, norm: nn.Module, count: int, width: int) -> None:
        super().__init__()
        self.norm = norm
        # As DINOv2 initialises them.
        self.tokens = nn.Parameter(torch.randn(1, count, width) * 1e-6)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map ``(B, 1 + N, D)`` to ``(B, 1 + count + N, D)``."""
        tokens = self.norm(tokens)
        registers = self.tokens.expand(len(tokens), -1, -1)
        return torch.cat([tokens[:, :1], registers, tokens[:, 1:]], dim=1)
