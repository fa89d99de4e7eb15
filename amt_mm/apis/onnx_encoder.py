"""The encoder as an ONNX file, with normalisation of the pixels and pooling inside."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor, nn

from amt_mm.checkpoints.safe_save import atomic_file
from amt_mm.errors import InputError
from amt_mm.evaluation.features import POOLINGS, evaluating

from .encoder import LoadedEncoder

# What the exporter of torch writes without converting it afterwards.
OPSET = 18
# Largest difference to torch: fp32 sums in another order.
_TOLERANCE = 1e-4


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

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images in 0..255, ``(B, C, H, W)`` fp32; tokens and features ``(B, D)``."""
        tokens = self.vit((pixels - self.mean) / self.std)[-1]  # (B, 1 + N, D), or without [CLS]
        return tokens, POOLINGS[self.pooling](tokens, int(self.has_cls))


def write_onnx(loaded: LoadedEncoder, path: Path) -> list[str]:
    """Write the file and, where onnxruntime is installed, compare it with torch.

    Args:
        loaded: The encoder.
        path: A ``.onnx`` file; the batch is dynamic, the size of images that of the encoder.

    Returns:
        Lines to say.

    Raises:
        InputError: A package is missing, or onnxruntime computes something else.
    """
    missing = [name for name in ('onnx', 'onnxscript') if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f'ONNX needs {" and ".join(missing)}: pip install {" ".join(missing)}')
    preprocessor = loaded.model.data_preprocessor
    network = PixelEncoder(loaded.model.backbone, preprocessor.mean, preprocessor.std,
                           loaded.has_cls, loaded.pooling).cpu()
    side = loaded.model.backbone.img_size[0]
    channels = loaded.model.backbone.patch_embed.projection.in_channels
    pixels = torch.randint(0, 256, (3, channels, side, side),
                           generator=torch.Generator().manual_seed(0))
    with evaluating(network), atomic_file(path) as temporary:
        program = torch.onnx.export(
            network, (pixels[:2].float(), ), dynamo=True, opset_version=OPSET, verbose=False,
            input_names=['pixels'], output_names=['tokens', 'features'],
            dynamic_shapes={'pixels': {0: torch.export.Dim('batch')}})
        program.save(temporary, external_data=False)
        checked = _compare(network, temporary, pixels.float())
    return [f"load: onnxruntime.InferenceSession('{path}')",
            f'input: pixels (batch, {channels}, {side}, {side}), fp32 in 0..255'
            f'{", RGB" * (channels == 3)}; opset {OPSET}',
            f'output: tokens, features ({loaded.pooling})', checked]


def _compare(network: nn.Module, path: Path, pixels: Tensor) -> str:
    """Run both on a batch of another size than that of the export."""
    if importlib.util.find_spec('onnxruntime') is None:
        return 'note: not checked, since onnxruntime is not installed'
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=['CPUExecutionProvider'])
    found = session.run(['tokens', 'features'], {'pixels': pixels.numpy()})
    difference = max(float((torch.from_numpy(theirs) - ours).abs().max())
                     for theirs, ours in zip(found, network(pixels), strict=True))
    if not difference <= _TOLERANCE:
        raise InputError(f'onnxruntime differs from torch by {difference:.1e}, more than '
                         f'{_TOLERANCE:g}: nothing is written')
    return f'check: onnxruntime agrees with torch to {difference:.1e}'
