"""RegisterViT: vision transformer with register tokens and, on request, rotary positions."""

from __future__ import annotations

import torch
from mmpretrain.models import VisionTransformer
from torch import Tensor, nn

from amt_mm.errors import InputError
from amt_mm.registry import MODELS

from .rotary import RotaryPositions, use_rotary_blocks


@MODELS.register_module()
class RegisterViT(VisionTransformer):
    """mmpretrain's vision transformer, with register tokens between [CLS] and patches.

    DINOv2 and DINOv3 are such networks; mmpretrain's ``layer_cfgs=dict(ffn_type='swiglu_fused')``
    is the MLP of their largest variants. Registers have no positions, take part in all blocks and
    are not returned (Darcet et al., ICLR 2024, "Vision Transformers Need Registers"), so whatever
    reads the outputs of an encoder reads those of this one.

    Args:
        *args: See :class:`mmpretrain.models.VisionTransformer`.
        num_registers: Defaults to 0: none. DINOv2 has 4 in the variants that have any, and DINOv3
            in all.
        rotary: Use rotary positions, see :class:`~amt_mm.models.rotary.RotaryPositions`, instead of
            position embeddings, as DINOv3 does. Defaults to False.
        **kwargs: As ``*args``.

    Raises:
        InputError: ``num_registers`` is invalid, or there is no [CLS] before the registers.
    """

    def __init__(self, *args, num_registers: int = 0, rotary: bool = False, **kwargs) -> None:
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
        self.rotary = None
        if rotary:
            self.pos_embed = None
            self.rotary = RotaryPositions(self.embed_dims // self.arch_settings['num_heads'])
            use_rotary_blocks(self.layers)

    @property
    def num_prefix_tokens(self) -> int:
        """Tokens before the patches inside the blocks, as timm calls them."""
        return self.num_extra_tokens + self.num_registers

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Encode ``(B, C, H, W)`` images, see :class:`mmpretrain.models.VisionTransformer`."""
        if self.rotary is None:
            return VisionTransformer.forward(self, images)
        # The parent adds position embeddings, and its blocks take tokens alone.
        tokens, grid = self.patch_embed(images)  # (B, N, D)
        if self.cls_token is not None:
            tokens = torch.cat([self.cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)
        tokens = self.pre_norm(self.drop_after_pos(tokens))  # (B, num_prefix_tokens + N, D)
        rotation = self.rotation(grid)
        outputs = []
        for index, layer in enumerate(self.layers):
            tokens = layer(tokens, *rotation)
            if index == len(self.layers) - 1 and self.final_norm:
                tokens = self.ln1(tokens)
            if index in self.out_indices:
                outputs.append(self._format_output(tokens, grid))
        return tuple(outputs)

    def rotation(self, grid: tuple[int, int], kept: Tensor | None = None) -> tuple[Tensor, ...]:
        """Return what blocks take besides the tokens.

        Args:
            grid: Rows and columns of patches.
            kept: See :class:`~amt_mm.models.rotary.RotaryPositions`.

        Returns:
            The rotation with rotary positions, otherwise nothing.
        """
        if self.rotary is None:
            return ()
        return (self.rotary(grid, self.num_prefix_tokens, kept), )

    def get_layer_depth(self, param_name: str, prefix: str = '') -> tuple[int, int]:
        """Depth of a parameter for layer decay; registers enter with [CLS], at depth 0.

        Args:
            param_name: Name of the parameter.
            prefix: What it begins with in the whole model, such as ``'backbone.'``.

        Returns:
            The depth, and the number of depths.
        """
        if param_name == f'{prefix}pre_norm.tokens':
            param_name = f'{prefix}cls_token'
        return super().get_layer_depth(param_name, prefix)

    def without_registers(self, tokens: Tensor) -> Tensor:
        """Drop the registers of ``(B, num_prefix_tokens + N, D)`` tokens."""
        if not self.num_registers:
            return tokens
        return torch.cat([tokens[:, :1], tokens[:, 1 + self.num_registers:]], dim=1)

    def _prepare_pos_embed(self, state_dict: dict, prefix: str, *args, **kwargs) -> None:
        # The parent resizes those of the file.
        if self.pos_embed is not None:
            super()._prepare_pos_embed(state_dict, prefix, *args, **kwargs)

    def _format_output(self, x: Tensor, hw: tuple[int, int]) -> Tensor:
        return super()._format_output(self.without_registers(x), hw)


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
        # Not len(): it would fix the batch in torch.export.
        registers = self.tokens.expand(tokens.shape[0], -1, -1)
        return torch.cat([tokens[:, :1], registers, tokens[:, 1:]], dim=1)
