"""Last-block [CLS] attention of a vision transformer, in its cheapest exact form.

Of the last block only the attention of the [CLS] token is wanted: one query, all
keys, no value, no projection, no MLP. Fused attention kernels return no weights,
so the row is computed here from the block's own normalisation and projection.
"""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from amt_mm.errors import InputError

from .normalize import min_max

# Parts by which attention differs from a softmax of the projected queries and keys.
_OTHER_ATTENTION = ('q_bias', 'relative_position_bias_table', 'rel_pos_bias', 'rope')


class _Reached(Exception):
    """Carries the last block's input out of the forward pass."""

    def __init__(self, tokens: Tensor) -> None:
        super().__init__()
        self.tokens = tokens


def cls_attention(vit: nn.Module, images: Tensor) -> Tensor:
    """Attention of the last block's [CLS] token to every patch (AMT, eq. 3 and 4).

    All tokens are visible, dropout and drop path are off, the softmax is taken in
    fp32 also under autocast. The [CLS] column is removed after the softmax, so a
    row sums to less than 1. The training mode of every module is left as it was.

    Args:
        vit: A transformer with pre-norm blocks in ``layers`` (mmpretrain) or
            ``blocks`` (timm), [CLS] first, one ``qkv`` projection a block. Its
            forward on images alone must see all tokens.
        images: Normalised images, ``(B, C, H, W)``.

    Returns:
        ``(B, heads, N)`` fp32, without gradient.

    Raises:
        InputError: The transformer is built in another way.
    """
    block = last_block(vit)
    tokens = _input_of(vit, block, images)
    with torch.no_grad():
        return cls_row(block, tokens)


def cls_saliency(vit: nn.Module, images: Tensor, normalize: str = 'map') -> Tensor:
    """Saliency of each patch: [CLS] attention as numbers from 0 to 1.

    Args:
        vit: See :func:`cls_attention`.
        images: Normalised images, ``(B, C, H, W)``.
        normalize: ``'map'``: mean over heads, then min-max for each image, as the
            paper says. ``'head'``: min-max for each head, then mean over heads,
            as the authors' released code does.

    Returns:
        ``(B, N)`` fp32. An image whose attention is flat or not finite gets a row
        of zeros, which every mask generator reads as "no preference".
    """
    attention = cls_attention(vit, images)
    if normalize == 'map':
        return min_max(attention.mean(dim=1))
    if normalize == 'head':
        return min_max(attention).mean(dim=1)
    raise InputError(f"normalize={normalize!r} is unknown: use 'map' or 'head'")


def last_block(vit: nn.Module) -> nn.Module:
    """The last block of a transformer, once its attention is known to be a plain softmax.

    Raises:
        InputError: The transformer is built in another way.
    """
    blocks = getattr(vit, 'layers', None) or getattr(vit, 'blocks', None)
    block = blocks[-1] if isinstance(blocks, (nn.ModuleList, nn.Sequential)) and blocks else None
    if not isinstance(getattr(getattr(block, 'attn', None), 'qkv', None), nn.Linear):
        raise InputError(
            f'{type(vit).__name__} has no last block with a `qkv` projection: [CLS] attention is '
            'known for mmpretrain (`layers`) and timm (`blocks`) vision transformers')
    if getattr(vit, 'cls_token', None) is None:
        raise InputError(f'{type(vit).__name__} has no [CLS] token, so no [CLS] attention')
    prefix = getattr(vit, 'num_prefix_tokens', getattr(vit, 'num_extra_tokens', 1))
    if prefix > 1:
        raise InputError(f'{type(vit).__name__} has {prefix} tokens before its patches: [CLS] '
                         'attention is known for [CLS] alone, without distillation or registers')
    others = [name for name in _OTHER_ATTENTION if getattr(block.attn, name, None) is not None]
    if others or getattr(vit, 'rel_pos_bias', None) is not None:
        raise InputError(f'{type(vit).__name__} adds {(others or ["rel_pos_bias"])[0]} to its '
                         'attention, which the plain softmax of queries and keys leaves out')
    return block


def _input_of(vit: nn.Module, block: nn.Module, images: Tensor) -> Tensor:
    """Run the forward pass as far as ``block`` and return what it is given."""

    def stop(_, args: tuple) -> None:
        raise _Reached(args[0])

    training = {module: module.training for module in vit.modules()}
    handle = block.register_forward_pre_hook(stop)
    try:
        for module in training:
            module.training = False
        with torch.no_grad():
            vit(images)
    except _Reached as reached:
        return reached.tokens
    finally:
        handle.remove()
        for module, mode in training.items():
            module.training = mode
    raise InputError(f'the forward pass of {type(vit).__name__} never reached its last block')


def cls_row(block: nn.Module, tokens: Tensor) -> Tensor:
    """Softmax of the [CLS] query over all keys, without its own column, ``(B, heads, N)``."""
    attn = block.attn
    norm = block.ln1 if hasattr(block, 'ln1') else block.norm1
    tokens = norm(tokens)  # (B, 1 + N, D)
    width = attn.qkv.out_features // 3
    head_width = width // attn.num_heads
    weight, bias = attn.qkv.weight, attn.qkv.bias
    query = F.linear(tokens[:, :1], weight[:width], None if bias is None else bias[:width])
    key = F.linear(tokens, weight[width:2 * width],
                   None if bias is None else bias[width:2 * width])
    query = query.unflatten(-1, (attn.num_heads, head_width)).transpose(1, 2)
    key = key.unflatten(-1, (attn.num_heads, head_width)).transpose(1, 2)
    # timm normalises queries and keys in some models.
    query = getattr(attn, 'q_norm', nn.Identity())(query)
    key = getattr(attn, 'k_norm', nn.Identity())(key)
    kind = tokens.device.type
    # The meta device, on which costs are counted, knows no autocast to switch off.
    known = torch.amp.is_autocast_available(kind)
    with torch.autocast(kind, enabled=False) if known else nullcontext():
        # (B, heads, 1, D_h) x (B, heads, D_h, 1 + N)
        logits = query.float() @ key.float().transpose(-2, -1) * head_width**-0.5
        return logits.softmax(dim=-1)[:, :, 0, 1:]
