"""Attention of a vision transformer to its patches, in its cheapest exact form.

Of a block only its attention is wanted: no value, no projection, no MLP, and for [CLS] one
query. Fused attention kernels return no weights, so rows are computed here from the block's own
normalisation and projection.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amt_mm.errors import InputError

from .normalize import min_max
from .vit_blocks import chosen_blocks, inputs_of


def cls_attention(vit: nn.Module, images: Tensor, layers: int | str = 'last') -> Tensor:
    """Attention of the [CLS] token to every patch (AMT, eq. 3 and 4).

    All tokens are visible, dropout and drop path are off, the softmax is taken in
    fp32 also under autocast. The [CLS] column is removed after the softmax, so a
    row sums to less than 1. The training mode of every module is left as it was.

    Args:
        vit: A transformer with pre-norm blocks in ``layers`` (mmpretrain) or
            ``blocks`` (timm), [CLS] first, one ``qkv`` projection a block. Its
            forward on images alone must see all tokens.
        images: Normalised images, ``(B, C, H, W)``.
        layers: ``'last'``: of the last block, as in the paper. The index of a block, from
            0, negative from the end. ``'mean'``: of all blocks, one after the other, so
            that a mean over heads is one over blocks too.

    Returns:
        ``(B, heads, N)`` fp32, without gradient; with ``'mean'``, heads of all blocks.

    Raises:
        InputError: The transformer is built in another way, or has no such block.
    """
    return _attention(cls_row, vit, images, layers)


def received_attention(vit: nn.Module, images: Tensor, layers: int | str = 'last') -> Tensor:
    """Attention that every patch receives from all tokens, [CLS] among them, on average.

    Args:
        vit: See :func:`cls_attention`.
        images: Normalised images, ``(B, C, H, W)``.
        layers: See :func:`cls_attention`.

    Returns:
        ``(B, heads, N)`` as :func:`cls_attention`, mean over the 1 + N queries.

    Raises:
        InputError: The transformer is built in another way, or has no such block.
    """
    return _attention(mean_row, vit, images, layers)


def cls_saliency(vit: nn.Module, images: Tensor, normalize: str = 'map') -> Tensor:
    """Saliency of each patch: [CLS] attention as numbers from 0 to 1.

    Args:
        vit: See :func:`cls_attention`.
        images: Normalised images, ``(B, C, H, W)``.
        normalize: See :func:`normalized`.

    Returns:
        ``(B, N)`` fp32. An image whose attention is flat or not finite gets a row
        of zeros, which every mask generator reads as "no preference".
    """
    return normalized(cls_attention(vit, images), normalize)


def normalized(attention: Tensor, normalize: str = 'map') -> Tensor:
    """One map from 0 to 1 from the attention of several heads.

    Args:
        attention: ``(B, heads, N)``.
        normalize: ``'map'``: mean over heads, then min-max for each image, as the
            paper says. ``'head'``: min-max for each head, then mean over heads,
            as the authors' released code does.

    Returns:
        ``(B, N)``.
    """
    if normalize == 'map':
        return min_max(attention.mean(dim=1))
    if normalize == 'head':
        return min_max(attention).mean(dim=1)
    raise InputError(f"normalize={normalize!r} is unknown: use 'map' or 'head'")


def cls_row(block: nn.Module, tokens: Tensor) -> Tensor:
    """Softmax of the [CLS] query over all keys, without its own column, ``(B, heads, N)``."""
    query, key = _query_and_key(block, tokens, 1)
    with _fp32(tokens):
        return _softmax(query, key)[:, :, 0, 1:]


def mean_row(block: nn.Module, tokens: Tensor) -> Tensor:
    """Mean over the softmax of all queries, without the [CLS] column, ``(B, heads, N)``."""
    query, key = _query_and_key(block, tokens, tokens.shape[1])
    with _fp32(tokens):
        # Head by head: (B, 1 + N, 1 + N) of one is as much as there must be at once.
        rows = [_softmax(*head).mean(dim=1)[:, 1:]
                for head in zip(query.unbind(1), key.unbind(1), strict=True)]
    return torch.stack(rows, dim=1)


def _attention(row: Callable, vit: nn.Module, images: Tensor, layers: int | str) -> Tensor:
    blocks = chosen_blocks(vit, layers)
    tokens = inputs_of(vit, blocks, images)
    with torch.no_grad():
        rows = [row(*given) for given in zip(blocks, tokens, strict=True)]
    return rows[0] if len(rows) == 1 else torch.cat(rows, dim=1)


def _query_and_key(block: nn.Module, tokens: Tensor, queries: int) -> tuple[Tensor, Tensor]:
    """Of the first ``queries`` tokens and of all, ``(B, heads, n, D / heads)`` each."""
    attn = block.attn
    norm = block.ln1 if hasattr(block, 'ln1') else block.norm1
    tokens = norm(tokens)  # (B, 1 + N, D)
    width = attn.qkv.out_features // 3
    heads = (attn.num_heads, width // attn.num_heads)
    weight, bias = attn.qkv.weight, attn.qkv.bias
    query = F.linear(tokens[:, :queries], weight[:width], None if bias is None else bias[:width])
    key = F.linear(tokens, weight[width:2 * width],
                   None if bias is None else bias[width:2 * width])
    query = query.unflatten(-1, heads).transpose(1, 2)
    key = key.unflatten(-1, heads).transpose(1, 2)
    # timm normalises queries and keys in some models.
    query = getattr(attn, 'q_norm', nn.Identity())(query)
    return query, getattr(attn, 'k_norm', nn.Identity())(key)


def _fp32(tokens: Tensor) -> AbstractContextManager:
    kind = tokens.device.type
    # The meta device, on which costs are counted, knows no autocast to switch off.
    known = torch.amp.is_autocast_available(kind)
    return torch.autocast(kind, enabled=False) if known else nullcontext()


def _softmax(query: Tensor, key: Tensor) -> Tensor:
    """Rows of attention, ``(..., queries, keys)`` fp32."""
    logits = query.float() @ key.float().transpose(-2, -1) * query.shape[-1]**-0.5
    return logits.softmax(dim=-1)
