"""Transformer blocks that compute the same as mmpretrain's, with less work around it."""

from __future__ import annotations

from collections.abc import Iterable

from mmcv.cnn.bricks import DropPath
from mmpretrain.models.backbones.vision_transformer import TransformerEncoderLayer
from mmpretrain.models.utils import MultiheadAttention
from torch import Tensor, nn
from torch.nn import functional as F


class Attention(MultiheadAttention):
    """mmpretrain's attention, cut into queries, keys and values at once.

    The parent takes them out of one tensor by three indices, and the gradient of each index
    is a tensor of all three, mostly zeros: three are filled and added where one is written.
    """

    def forward(self, x: Tensor, wanted: int | None = None) -> Tensor:
        """Attend from some tokens to all.

        Args:
            x: ``(B, N, D)``.
            wanted: Only the last so many tokens attend. Defaults to None: all.

        Returns:
            ``(B, wanted, D)``.
        """
        heads = (self.num_heads, self.head_dims)
        if wanted is None:
            query, key, value = self.qkv(x).unflatten(2, (3, *heads)).unbind(2)
        else:
            widths = [self.embed_dims, 2 * self.embed_dims]
            of_query, of_rest = self.qkv.weight.split(widths)
            biases = (None, None) if self.qkv.bias is None else self.qkv.bias.split(widths)
            query = F.linear(last_tokens(x, wanted), of_query, biases[0]).unflatten(2, heads)
            key, value = F.linear(x, of_rest, biases[1]).unflatten(2, (2, *heads)).unbind(2)
        # (B, heads, n, D / heads) each
        query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        attended = self.scaled_dot_product_attention(
            query, key, value, dropout_p=self.attn_drop if self.training else 0.)
        attended = self.proj(attended.transpose(1, 2).flatten(2))  # (B, wanted, D)
        attended = self.out_drop(self.gamma1(self.proj_drop(attended)))
        return value.squeeze(1) + attended if self.v_shortcut else attended


class Block(TransformerEncoderLayer):
    """mmpretrain's block, which can leave out tokens that nobody reads afterwards."""

    def forward(self, x: Tensor, wanted: int | None = None) -> Tensor:
        """Run the block.

        Args:
            x: ``(B, N, D)``.
            wanted: Give only the last so many tokens; the others serve as keys and values.
                For the last block, whose other tokens no loss reads: the same loss and
                gradients for less. Defaults to None: all.

        Returns:
            ``(B, wanted, D)``.
        """
        attended = self.attn(self.ln1(x), wanted)
        x = (x if wanted is None else last_tokens(x, wanted)) + attended
        return self.ffn(self.ln2(x), identity=x)


def lean_blocks(blocks: Iterable[nn.Module]) -> None:
    """Give mmpretrain's blocks the forward of :class:`Block`.

    mmpretrain's transformers name the class of their blocks in their code. These classes add
    no state, so a block keeps its parameters, their names and their initialisation.

    Args:
        blocks: Blocks; those of another class than mmpretrain's own stay as they are.
    """
    for block in blocks:
        if type(block) is TransformerEncoderLayer and type(block.attn) is MultiheadAttention:
            block.__class__ = Block
            block.attn.__class__ = Attention
        for module in block.modules():
            # Where mmpretrain has numpy's number, which torch.compile would take for a tensor.
            if isinstance(module, DropPath):
                module.drop_prob = float(module.drop_prob)


def last_tokens(tokens: Tensor, count: int) -> Tensor:
    """The last ``count`` of ``(B, N, D)`` tokens, none for 0."""
    return tokens[:, tokens.shape[1] - count:]
