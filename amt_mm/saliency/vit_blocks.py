"""Select blocks of a vision transformer and capture their inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from amt_mm.errors import InputError

# Attributes of attention that is not a plain softmax of the projected queries and keys.
_OTHER_ATTENTION = ('q_bias', 'relative_position_bias_table', 'rel_pos_bias', 'rope')


class _StopForward(Exception):
    """Raised by hooks to end a forward pass early."""


def select_blocks(vit: nn.Module, layers: int | str = 'last') -> list[nn.Module]:
    """Select blocks of a transformer and check that their attention is a plain softmax.

    Args:
        vit: See :func:`~amt_mm.saliency.cls_attention`.
        layers: ``'last'``, ``'mean'`` for all, or the index of one, from 0, negative from the end.

    Raises:
        InputError: The architecture is not supported, or has no such block.
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
            f'{type(vit).__name__} has no blocks with a `qkv` projection: [CLS] attention is '
            'supported for vision transformers of mmpretrain (`layers`) and timm (`blocks`)')
    if getattr(vit, 'cls_token', None) is None:
        raise InputError(f'{type(vit).__name__} has no [CLS] token, so no [CLS] attention')
    others = [name for block in chosen for name in _OTHER_ATTENTION
              if getattr(block.attn, name, None) is not None]
    # timm's Eva has both in the transformer.
    others += [name for name in ('rel_pos_bias', 'rope') if getattr(vit, name, None) is not None]
    if others:
        raise InputError(f'{type(vit).__name__} adds {others[0]} to its '
                         'attention, which the plain softmax of queries and keys leaves out')
    return chosen


def prefix_tokens(vit: nn.Module) -> int:
    """Return the number of tokens before the patches: [CLS], distillation, registers."""
    return getattr(vit, 'num_prefix_tokens', getattr(vit, 'num_extra_tokens', 1))


def block_inputs(vit: nn.Module, blocks: Sequence[nn.Module], images: Tensor
                 ) -> list[tuple[Tensor, ...]]:
    """Capture the inputs of blocks; the last one itself is not run.

    All tokens are visible, dropout and drop path are off, there are no gradients. The training mode
    of every module is restored.

    Args:
        vit: The transformer.
        blocks: Some of its blocks, in their order.
        images: Normalised images, ``(B, C, H, W)``.

    Returns:
        What each takes: all tokens, ``(B, prefix_tokens(vit) + N, D)``, and with rotary positions
        the rotation.

    Raises:
        InputError: The forward pass does not reach the last of them.
    """
    found = {}

    def capture(block: nn.Module, args: tuple) -> None:
        found[block] = args
        if block is blocks[-1]:
            raise _StopForward

    _forward(vit, images, [block.register_forward_pre_hook for block in blocks], capture)
    return [found[block] for block in blocks]


def block_output(vit: nn.Module, block: nn.Module, images: Tensor) -> Tensor:
    """Capture the output of a block, all tokens; otherwise as :func:`block_inputs`."""
    found = []

    def capture(block: nn.Module, args: tuple, output: Tensor) -> None:
        found.append(output)
        raise _StopForward

    _forward(vit, images, [block.register_forward_hook], capture)
    return found[0]


def _forward(vit: nn.Module, images: Tensor, registers: list[Callable], hook: Callable) -> None:
    """Run the forward pass until ``hook``, registered by each of ``registers``, stops it."""
    training = {module: module.training for module in vit.modules()}
    handles = [register(hook) for register in registers]
    try:
        for module in training:
            module.training = False
        with torch.no_grad():
            vit(images)
    except _StopForward:
        return
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in training.items():
            module.training = mode
    raise InputError(f'the forward pass of {type(vit).__name__} does not reach its last block')
