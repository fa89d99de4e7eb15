"""AttentionTap: [CLS] attention as a by-product of a forward pass that is made anyway."""

from __future__ import annotations

from types import TracebackType

import torch
from torch import Tensor, nn

from .attention import cls_row
from .vit_blocks import chosen_blocks


class AttentionTap:
    """Remember what the last block is given, and tell its [CLS] attention.

    For teachers, whose forward pass is needed for its own sake::

        with AttentionTap(vit) as tap:
            tokens = vit(images)
        scores = tap.cls_attention().mean(dim=1)

    Args:
        vit: See :func:`~amt_mm.saliency.cls_attention`. It is used as it is: dropout,
            masks and training mode are the caller's affair.

    Raises:
        InputError: The transformer is built in another way.
    """

    def __init__(self, vit: nn.Module) -> None:
        self.block = chosen_blocks(vit)[0]
        self._tokens: Tensor | None = None

    def __enter__(self) -> AttentionTap:
        """Begin to listen."""
        self._handle = self.block.register_forward_pre_hook(self._keep)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None,
                 traceback: TracebackType | None) -> None:
        """Stop listening."""
        self._handle.remove()

    @torch.no_grad()
    def cls_attention(self) -> Tensor:
        """Attention of [CLS] to each patch in the last pass, ``(B, heads, N)`` fp32."""
        return cls_row(self.block, self._tokens)

    def _keep(self, _, args: tuple) -> None:
        self._tokens = args[0]
