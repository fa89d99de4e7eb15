"""The images that a page shows, as an encoder sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from .pictures import denormalise, upscale

# Longer side of a picture in pixels: sharp on a phone, and the page stays small enough to be sent.
_SIDE = 224


@dataclass(frozen=True)
class ShownImages:
    """Images, and the patches that an encoder divides them into.

    Attributes:
        inputs: Normalised images, ``(B, 3, H, W)``.
        names: Of the images.
        preprocessor: What normalised them.
        grid: Rows and columns of patches.
    """

    inputs: Tensor
    names: Sequence[str]
    preprocessor: nn.Module
    grid: tuple[int, int]

    @property
    def cell(self) -> int:
        """Pixels per patch in a picture."""
        return max(1, round(_SIDE / max(self.grid)))

    @property
    def images(self) -> list[np.ndarray]:
        """The images as (H, W, 3) uint8."""
        return [self.picture(image) for image in self.inputs]

    def picture(self, image: Tensor) -> np.ndarray:
        """Return a normalised image, ``(3, H, W)``, as (h * cell, w * cell, 3) uint8."""
        pixels = denormalise(image.cpu(), self.preprocessor.mean.flatten().tolist(),
                             self.preprocessor.std.flatten().tolist())
        return upscale(pixels, self.grid, self.cell, smooth=True)

    def patches(self, colours: np.ndarray) -> np.ndarray:
        """Return colours of patches, (h * w, 3) uint8, as (h * cell, w * cell, 3) uint8."""
        return upscale(colours.reshape(*self.grid, 3), self.grid, self.cell)


@dataclass(frozen=True)
class Shown(ShownImages):
    """Images and the encoder that they are shown with.

    Attributes:
        vit: The encoder, in evaluation mode, on the device of the images.
        has_cls: Whether the encoder has a [CLS] token, its first.
    """

    vit: nn.Module
    has_cls: bool
