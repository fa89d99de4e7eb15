"""Features of images from a frozen encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn

from ..errors import InputError

# How one feature comes from the tokens (B, 1 + N, D) of each image.
_POOLINGS = {'cls': lambda tokens: tokens[:, 0], 'mean': lambda tokens: tokens[:, 1:].mean(dim=1)}


def extract_features(
    model: nn.Module,
    batches: Iterable[Tensor],
    forward: Callable[[Tensor], Tensor] | None = None,
    progress: str | None = None,
    pooling: Sequence[str] = ('cls', 'mean'),
) -> dict[str, Tensor]:
    """Run a frozen encoder over images and keep one feature of each, or two.

    The model runs in evaluation mode without gradients; afterwards every module
    has its own mode back, also if the run fails.

    Args:
        model: The encoder, or the model that ``forward`` runs a part of.
        batches: Batches of images, each (B, 3, H, W), normalised as the model
            wants them; moved to the model's device here.
        forward: Gives the tokens (B, 1 + N, D) of a batch, [CLS] first.
            Default: the model itself.
        progress: What to call the progress bar, which appears on a terminal
            only and needs tqdm. Default: no bar.
        pooling: Which features to keep: ``'cls'``, the [CLS] token, ``'mean'``, the
            mean of the other tokens. Default both.

    Returns:
        From each pooling to its features: (n, D), float32, on the CPU, in the
        order of the batches.

    Raises:
        InputError: If there is no image, the tokens are of another shape or a
            pooling is unknown.
    """
    if not pooling or not set(pooling) <= set(_POOLINGS):
        raise InputError(f"pooling is {pooling}; give 'cls', 'mean' or both")
    forward = model if forward is None else forward
    parameter = next(model.parameters(), None)
    device = torch.device('cpu') if parameter is None else parameter.device
    if progress is not None:
        from tqdm import tqdm

        batches = tqdm(batches, desc=progress, disable=None)

    parts: dict[str, list[Tensor]] = {name: [] for name in pooling}
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        # Not inference_mode: what a module caches here, training must be able to use.
        with torch.no_grad():
            for images in batches:
                tokens = forward(images.to(device))  # (B, 1 + N, D)
                if tokens.ndim != 3 or tokens.shape[1] < 2:
                    raise InputError(
                        f'the encoder gives {tuple(tokens.shape)} for images '
                        f'{tuple(images.shape)}; features need tokens (B, 1 + N, D), [CLS] first '
                        "(mmpretrain's transformers: model.backbone.out_type='raw')"
                    )
                # In float32, for a half-precision sum over many tokens loses digits.
                tokens = tokens.float()
                for name, part in parts.items():
                    part.append(_POOLINGS[name](tokens).cpu())
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not all(parts.values()):
        raise InputError('no batch of images to take features from; is the data set empty?')
    return {name: torch.cat(part) for name, part in parts.items()}
