"""Transformer blocks that compute the same as mmpretrain's with less overhead."""

from __future__ import annotations

from collections.abc import Iterable

from mmcv.cnn.bricks import DropPath
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from mmpretrain.models.utils import MultiheadAttention
from torch import Tensor, nn
from torch.nn import functional as F

from amt_mm.errors import InputError


class Attention(MultiheadAttention):
    """mmpretrain's attention, split into queries, keys and values at once.

    The parent indexes one tensor three times; the gradient of each index is a tensor of all three,
    mostly zeros, so three tensors are filled and added instead of one written.
    """

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Attend to all tokens of the context.

        Args:
            x: Tokens that attend, ``(B, N, D)``.
            context: Tokens that they attend to, ``(B, M, D)``. Defaults to None: ``x``.

        Returns:
            ``(B, N, D)``.
        """
        return self.attend(*self.split(x, context))

    def split(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Project to queries, keys and values, ``(B, heads, N or M, D / heads)`` each."""
        heads = (self.num_heads, self.head_dims)
        if context is None:
            query, key, value = self.qkv(x).unflatten(2, (3, *heads)).unbind(2)
        else:
            widths = [self.embed_dims, 2 * self.embed_dims]
            of_query, of_rest = self.qkv.weight.split(widths)
            biases = (None, None) if self.qkv.bias is None else self.qkv.bias.split(widths)
            query = F.linear(x, of_query, biases[0]).unflatten(2, heads)
            key, value = F.linear(context, of_rest, biases[1]).unflatten(2, (2, *heads)).unbind(2)
        return query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend and project, from :meth:`split` to ``(B, N, D)``."""
        attended = self.scaled_dot_product_attention(
            query, key, value, dropout_p=self.attn_drop if self.training else 0.)
        attended = self.proj(attended.transpose(1, 2).flatten(2))  # (B, N, D)
        attended = self.out_drop(self.gamma1(self.proj_drop(attended)))
        return value.squeeze(1) + attended if self.v_shortcut else attended


class Block(TransformerEncoderLayer):
    """mmpretrain's block, which can omit outputs that are not used, or attend to other tokens."""

    def forward(self, x: Tensor, num_outputs: int | None = None, context: Tensor | None = None
                ) -> Tensor:
        """Run the block.

        Args:
            x: ``(B, N, D)``.
            num_outputs: Number of last tokens to output; the others serve as keys and values only.
                For the last block, if no loss reads its other tokens: the same loss and gradients
                at less cost. Defaults to None: all.
            context: Tokens that serve as keys and values in place of ``x``, ``(B, M, D)``: cross-
                attention, with the parameters of self-attention. Defaults to None.

        Returns:
            ``(B, num_outputs or N, D)``.
        """
        tokens = self.ln1(x)
        if context is not None:
            context = self.ln1(context)
        elif num_outputs is not None:
            context, tokens = tokens, last_tokens(tokens, num_outputs)
            x = last_tokens(x, num_outputs)
        x = x + self.attn(tokens, context)
        return self.ffn(self.ln2(x), identity=x)


def use_fast_blocks(blocks: Iterable[nn.Module]) -> None:
    """Change the class of mmpretrain's blocks to :class:`Block`, in place.

    mmpretrain's transformers hard-code the class of their blocks. The classes here add no state, so
    a block keeps its parameters, their names and their initialisation.

    Args:
        blocks: Blocks; those of any class but mmpretrain's own are left unchanged.

    Raises:
        InputError: The width is not a multiple of the heads, which mmpretrain would not notice
            before the first batch.
    """
    for block in blocks:
        if type(block) is TransformerEncoderLayer and type(block.attn) is MultiheadAttention:
            width, heads = block.attn.embed_dims, block.attn.num_heads
            if width % heads:
                raise InputError(f'a transformer of width {width} cannot have {heads} heads: set a '
                                 'width (embed_dims, decoder_embed_dim) that is a multiple of the '
                                 'number of heads (num_heads, decoder_num_heads)')
            block.__class__ = Block
            block.attn.__class__ = Attention
        for module in block.modules():
            # mmpretrain's is a numpy number, which torch.compile would take for a tensor.
            if isinstance(module, DropPath):
                module.drop_prob = float(module.drop_prob)


def last_tokens(tokens: Tensor, count: int) -> Tensor:
    """Select the last ``count`` of ``(B, N, D)`` tokens, none for 0."""
    return tokens[:, tokens.shape[1] - count:]
