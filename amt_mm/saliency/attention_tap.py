"""AttentionTap: [CLS] attention as a by-product of an existing forward pass."""

from __future__ import annotations

from types import TracebackType

import torch
from torch import Tensor, nn

from .attention import cls_row
from .vit_blocks import prefix_tokens, select_blocks


class AttentionTap:
    """Record the input of the last block and compute its [CLS] attention.

    For teachers, whose forward pass is needed anyway::

        with AttentionTap(vit) as tap:
            tokens = vit(images)
        weights = tap.cls_attention().mean(dim=1)

    Args:
        vit: See :func:`~amt_mm.saliency.cls_attention`. Dropout, masks and training mode are left
            to the caller.

    Raises:
        InputError: The architecture is not supported.
    """

    def __init__(self, vit: nn.Module) -> None:
        self.block = select_blocks(vit)[0]
        self._others = prefix_tokens(vit) - 1
        self._inputs: tuple[Tensor, ...] = ()

    def __enter__(self) -> AttentionTap:
        """Start recording."""
        self._handle = self.block.register_forward_pre_hook(self._record)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        """Stop recording."""
        self._handle.remove()

    @torch.no_grad()
    def cls_attention(self) -> Tensor:
        """Compute the attention of [CLS] to each patch in the last pass, ``(B, heads, N)`` fp32."""
        return cls_row(self.block, *self._inputs)[:, :, self._others:]

    def _record(self, _, args: tuple) -> None:
        self._inputs = args
