"""Attention of a vision transformer to its patches, computed exactly and cheaply.

Of a block only queries and keys are needed, and for [CLS] a single query. Fused attention kernels
return no weights, so rows are computed from the block's own norm and ``qkv`` projection.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amt_mm.checks import check_choice

from .normalize import min_max
from .vit_blocks import block_inputs, prefix_tokens, select_blocks


def cls_attention(vit: nn.Module, images: Tensor, layers: int | str = 'last') -> Tensor:
    """Compute the attention of the [CLS] token to every patch (AMT, eq. 3 and 4).

    All tokens are visible, dropout and drop path are off, the softmax is in fp32 also under
    autocast. The columns of [CLS] and of registers are removed after the softmax, so a row sums to
    less than 1. The training mode of every module is restored.

    Args:
        vit: A transformer with pre-norm blocks in ``layers`` (mmpretrain) or ``blocks`` (timm),
            [CLS] first, one ``qkv`` projection per block. Blocks may take a rotation after their
            tokens, by which ``attn.rotate`` turns queries and keys
            (:class:`amt_mm.models.RegisterViT`). Its forward on images alone must process
            all tokens. Tokens before the patches: ``num_prefix_tokens`` (timm) or
            ``num_extra_tokens`` (mmpretrain), 1 if it has neither.
        images: Normalised images, ``(B, C, H, W)``.
        layers: ``'last'``: the last block, as in the paper; the index of a block, from 0, negative
            from the end; or ``'mean'``: all blocks, concatenated over heads, so that a mean over
            heads is a mean over blocks too.

    Returns:
        ``(B, heads, N)`` fp32, without gradient; with ``'mean'``, heads of all blocks.

    Raises:
        InputError: The architecture is not supported, or has no such block.
    """
    return _attention(cls_row, vit, images, layers)


def received_attention(vit: nn.Module, images: Tensor, layers: int | str = 'last') -> Tensor:
    """Compute the mean attention that each patch receives from all tokens, [CLS] included.

    Args:
        vit: See :func:`cls_attention`.
        images: Normalised images, ``(B, C, H, W)``.
        layers: See :func:`cls_attention`.

    Returns:
        ``(B, heads, N)`` as :func:`cls_attention`, mean over the 1 + N queries.

    Raises:
        InputError: The architecture is not supported, or has no such block.
    """
    return _attention(mean_row, vit, images, layers)


def cls_saliency(vit: nn.Module, images: Tensor, normalize: str = 'map') -> Tensor:
    """Compute the saliency of each patch: [CLS] attention scaled to [0, 1].

    Args:
        vit: See :func:`cls_attention`.
        images: Normalised images, ``(B, C, H, W)``.
        normalize: See :func:`normalize_heads`.

    Returns:
        ``(B, N)`` fp32. An image whose attention is constant or not finite gets zeros, which every
        mask generator treats as "no preference".
    """
    return normalize_heads(cls_attention(vit, images), normalize)


def normalize_heads(attention: Tensor, normalize: str = 'map') -> Tensor:
    """Reduce the attention of several heads to one map in [0, 1].

    Args:
        attention: ``(B, heads, N)``.
        normalize: ``'map'``: mean over heads, then min-max per image, as in the paper. ``'head'``:
            min-max per head, then mean over heads, as in the authors' released code.

    Returns:
        ``(B, N)``.
    """
    check_choice('normalize', normalize, ('map', 'head'))
    if normalize == 'map':
        return min_max(attention.mean(dim=1))
    return min_max(attention).mean(dim=1)


def cls_row(block: nn.Module, tokens: Tensor, rotation: Tensor | None = None) -> Tensor:
    """Softmax of the [CLS] query over all keys, without the [CLS] column, ``(B, heads, N)``."""
    query, key = _query_and_key(block, tokens, 1, rotation)
    with _fp32(tokens):
        return _softmax(query, key)[:, :, 0, 1:]


def mean_row(block: nn.Module, tokens: Tensor, rotation: Tensor | None = None) -> Tensor:
    """Mean softmax of all queries, without the [CLS] column, ``(B, heads, N)``."""
    query, key = _query_and_key(block, tokens, tokens.shape[1], rotation)
    with _fp32(tokens):
        # Head by head, so that only one (B, 1 + N, 1 + N) is in memory at a time.
        rows = [_softmax(*head).mean(dim=1)[:, 1:]
                for head in zip(query.unbind(1), key.unbind(1), strict=True)]
    return torch.stack(rows, dim=1)


def _attention(row: Callable, vit: nn.Module, images: Tensor, layers: int | str) -> Tensor:
    blocks = select_blocks(vit, layers)
    inputs = block_inputs(vit, blocks, images)
    with torch.no_grad():
        rows = [row(block, *given) for block, given in zip(blocks, inputs, strict=True)]
    # Registers and distillation tokens are attended to, but are not patches.
    return torch.cat(rows, dim=1)[:, :, prefix_tokens(vit) - 1:]


def _query_and_key(block: nn.Module, tokens: Tensor, queries: int, rotation: Tensor | None
                   ) -> tuple[Tensor, Tensor]:
    """Queries of the first ``queries`` tokens and all keys, ``(B, heads, n, D / heads)`` each."""
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
    key = getattr(attn, 'k_norm', nn.Identity())(key)
    if rotation is None:
        return query, key
    return attn.rotate(query, rotation[:, :queries]), attn.rotate(key, rotation)


def _fp32(tokens: Tensor) -> AbstractContextManager:
    kind = tokens.device.type
    # The meta device, on which costs are counted, has no autocast to disable.
    return (torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind)
            else nullcontext())


def _softmax(query: Tensor, key: Tensor) -> Tensor:
    """Rows of attention, ``(..., queries, keys)`` fp32."""
    logits = query.float() @ key.float().transpose(-2, -1) * query.shape[-1]**-0.5
    return logits.softmax(dim=-1)
