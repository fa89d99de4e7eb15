"""Simple feature pyramid: all levels from the last feature map of a plain backbone."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.model import BaseModule, ModuleList
from mmpretrain.models.utils import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

from amt_mm.errors import InputError
from amt_mm.registry import MODELS

# As in ViTDet; mmpretrain's default is 1e-5.
_EPS = 1e-6


@MODELS.register_module()
class SimpleFeaturePyramid(BaseModule):
    """Feature maps of several strides from the last one alone (Li et al., ECCV 2022).

    Finer levels come from transposed convolutions that halve the width each time, with a norm
    and GELU in between, coarser ones from max-pooling. Each level then passes a 1x1 and a 3x3
    convolution with a layer norm over channels after each. One more level, every second cell of
    the coarsest, is for region proposals.

    Args:
        in_channels: Width of the backbone.
        out_channels: Width of all levels. Defaults to 256 as in the paper.
        patch_size: Stride of the backbone in pixels.
        strides: Of the levels, in pixels; the patch size times powers of 2.

    Raises:
        InputError: A stride is not the patch size times a power of 2, or the width cannot be
            halved often enough.
    """

    def __init__(self, in_channels: int, out_channels: int = 256, patch_size: int = 16,
                 strides: Sequence[int] = (4, 8, 16, 32)) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.levels = ModuleList(
            nn.Sequential(*_rescale(in_channels, patch_size, stride),
                          # The width is halved as often as the stride.
                          nn.Conv2d(min(in_channels, in_channels * stride // patch_size),
                                    out_channels, 1, bias=False),
                          LayerNorm2d(out_channels, eps=_EPS),
                          nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
                          LayerNorm2d(out_channels, eps=_EPS))
            for stride in strides)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Compute the levels.

        Args:
            inputs: Feature maps ``(B, D, h, w)`` of the backbone; only the last is used.

        Returns:
            ``(B, out_channels, H / s, W / s)`` for each stride s, and for twice the last.

        Raises:
            InputError: The width of the backbone differs from ``in_channels``.
        """
        last = inputs[-1]
        if last.shape[1] != self.in_channels:
            raise InputError(f'model.neck.in_channels is {self.in_channels}, but the backbone is '
                             f'{last.shape[1]} wide: set it to {last.shape[1]}')
        maps = [level(last) for level in self.levels]
        return *maps, F.max_pool2d(maps[-1], kernel_size=1, stride=2)


def _rescale(width: int, patch_size: int, stride: int) -> list[nn.Module]:
    """Layers that change the stride from the patch size to ``stride``."""
    larger, smaller = max(patch_size, stride), min(patch_size, stride)
    factor, rest = divmod(larger, smaller)
    if rest or factor & (factor - 1):
        raise InputError(f'model.neck.strides: {stride} is not patch_size {patch_size} times '
                         'a power of 2')
    if stride >= patch_size:
        return [nn.MaxPool2d(factor)] if factor > 1 else []
    if width % factor:
        raise InputError(f'model.neck.in_channels: {width} is not a multiple of {factor}, as '
                         f'stride {stride} requires')
    layers = []
    while factor > 1:
        if layers:
            layers += [LayerNorm2d(width, eps=_EPS), nn.GELU()]
        layers.append(nn.ConvTranspose2d(width, width // 2, kernel_size=2, stride=2))
        width, factor = width // 2, factor // 2
    return layers
