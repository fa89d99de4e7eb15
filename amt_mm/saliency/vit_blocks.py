"""The blocks of a vision transformer: which are meant, and what goes into and out of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from amt_mm.errors import InputError

# Parts by which attention differs from a softmax of the projected queries and keys.
_OTHER_ATTENTION = ('q_bias', 'relative_position_bias_table', 'rel_pos_bias', 'rope')


class _Reached(Exception):
    """Ends a forward pass that has gone far enough."""


def chosen_blocks(vit: nn.Module, layers: int | str = 'last') -> list[nn.Module]:
    """Blocks of a transformer, once their attention is known to be a plain softmax.

    Args:
        vit: See :func:`~amt_mm.saliency.cls_attention`.
        layers: ``'last'``, ``'mean'`` for all, or the index of one, from 0, negative from
            the end.

    Raises:
        InputError: The transformer is built in another way, or has no such block.
    """
    blocks = getattr(vit, 'layers', None) or getattr(vit, 'blocks', None)
    blocks = list(blocks) if isinstance(blocks, (nn.ModuleList, nn.Sequential)) else []
    if type(layers) is int and blocks:
        if not -len(blocks) <= layers < len(blocks):
            raise InputError(f'layers={layers}: {type(vit).__name__} has {len(blocks)} blocks, '
                             f'0 to {len(blocks) - 1}')
        chosen = [blocks[layers]]
    else:
        chosen = blocks if layers == 'mean' else blocks[-1:]
    if not chosen or not all(isinstance(getattr(getattr(block, 'attn', None), 'qkv', None),
                                        nn.Linear) for block in chosen):
        raise InputError(
            f'{type(vit).__name__} has no last block with a `qkv` projection: [CLS] attention is '
            'known for mmpretrain (`layers`) and timm (`blocks`) vision transformers')
    if getattr(vit, 'cls_token', None) is None:
        raise InputError(f'{type(vit).__name__} has no [CLS] token, so no [CLS] attention')
    prefix = getattr(vit, 'num_prefix_tokens', getattr(vit, 'num_extra_tokens', 1))
    if prefix > 1:
        raise InputError(f'{type(vit).__name__} has {prefix} tokens before its patches: [CLS] '
                         'attention is known for [CLS] alone, without distillation or registers')
    others = [name for block in chosen for name in _OTHER_ATTENTION
              if getattr(block.attn, name, None) is not None]
    if others or getattr(vit, 'rel_pos_bias', None) is not None:
        raise InputError(f'{type(vit).__name__} adds {(others or ["rel_pos_bias"])[0]} to its '
                         'attention, which the plain softmax of queries and keys leaves out')
    return chosen


def inputs_of(vit: nn.Module, blocks: Sequence[nn.Module], images: Tensor) -> list[Tensor]:
    """What blocks are given for some images; the last of them is not run.

    All tokens are visible, dropout and drop path are off, nothing keeps a gradient. The
    training mode of every module is left as it was.

    Args:
        vit: The transformer.
        blocks: Some of its blocks, in their order.
        images: Normalised images, ``(B, C, H, W)``.

    Returns:
        ``(B, 1 + N, D)`` each.

    Raises:
        InputError: The forward pass never reaches the last of them.
    """
    found = {}

    def keep(block: nn.Module, args: tuple) -> None:
        found[block] = args[0]
        if block is blocks[-1]:
            raise _Reached

    _run(vit, images, [block.register_forward_pre_hook for block in blocks], keep)
    return [found[block] for block in blocks]


def output_of(vit: nn.Module, block: nn.Module, images: Tensor) -> Tensor:
    """What a block gives for some images, ``(B, 1 + N, D)``; otherwise as :func:`inputs_of`."""
    found = []

    def keep(block: nn.Module, args: tuple, output: Tensor) -> None:
        found.append(output)
        raise _Reached

    _run(vit, images, [block.register_forward_hook], keep)
    return found[0]


def _run(vit: nn.Module, images: Tensor, registers: list[Callable], keep: Callable) -> None:
    """Run the forward pass until ``keep``, called where it is registered, ends it."""
    training = {module: module.training for module in vit.modules()}
    handles = [register(keep) for register in registers]
    try:
        for module in training:
            module.training = False
        with torch.no_grad():
            vit(images)
    except _Reached:
        return
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in training.items():
            module.training = mode
    raise InputError(f'the forward pass of {type(vit).__name__} never reached its last block')
