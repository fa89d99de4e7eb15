"""An encoder with normalisation and pooling inside, for formats that run elsewhere."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from amt_mm.evaluation.features import POOLINGS

from .encoder import LoadedEncoder


class PixelEncoder(nn.Module):
    """From pixels to tokens and the feature of each image.

    Args:
        vit: Returns all tokens of normalised images.
        mean: Of the pixels, ``(C, 1, 1)``; RGB where they are colours.
        std: Likewise.
        has_cls: Whether the first token is [CLS].
        pooling: ``'cls'`` or ``'mean'``.
    """

    def __init__(self, vit: nn.Module, mean: Tensor, std: Tensor, has_cls: bool, pooling: str
                 ) -> None:
        super().__init__()
        self.vit, self.has_cls, self.pooling = vit, has_cls, pooling
        self.register_buffer('mean', mean)
        self.register_buffer('std', std)

    @classmethod
    def of(cls, loaded: LoadedEncoder) -> PixelEncoder:
        """Take the encoder of a checkpoint, on the CPU."""
        preprocessor = loaded.model.data_preprocessor
        return cls(loaded.model.backbone, preprocessor.mean, preprocessor.std, loaded.has_cls,
                   loaded.pooling).cpu()

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images in 0..255, ``(B, C, H, W)`` fp32; tokens and features ``(B, D)``."""
        tokens = self.vit((pixels - self.mean) / self.std)[-1]  # (B, 1 + N, D), or without [CLS]
        return tokens, POOLINGS[self.pooling](tokens, int(self.has_cls))

    @property
    def _channels(self) -> int:
        return self.vit.patch_embed.projection.in_channels

    def example(self) -> Tensor:
        """Three images of random pixels of the encoder's size."""
        return torch.randint(0, 256, (3, self._channels, *self.vit.img_size),
                             generator=torch.Generator().manual_seed(0)).float()

    def inputs(self) -> str:
        """Say what it takes."""
        height, width = self.vit.img_size
        colours = ', RGB' * (self._channels == 3)
        return (f'input: pixels (batch, {self._channels}, {height}, {width}), fp32 in 0..255'
                f'{colours}')

    def outputs(self) -> str:
        """Say what it gives."""
        return f'output: tokens, features ({self.pooling})'
