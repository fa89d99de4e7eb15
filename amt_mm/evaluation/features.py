"""Features of images from a frozen encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from ..errors import InputError


def extract_features(
    model: nn.Module,
    batches: Iterable[Tensor],
    forward: Callable[[Tensor], Tensor] | None = None,
    progress: str | None = None,
) -> dict[str, Tensor]:
    """Run a frozen encoder over images and keep two features of each.

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

    Returns:
        ``cls``, the [CLS] token, and ``mean``, the mean of the other tokens:
        (n, D) each, float32, on the CPU, in the order of the batches.

    Raises:
        InputError: If there is no image or the tokens are of another shape.
    """
    forward = model if forward is None else forward
    parameter = next(model.parameters(), None)
    device = torch.device('cpu') if parameter is None else parameter.device
    if progress is not None:
        from tqdm import tqdm

        batches = tqdm(batches, desc=progress, disable=None)

    cls, mean = [], []
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            for images in batches:
                tokens = forward(images.to(device))  # (B, 1 + N, D)
                if tokens.ndim != 3 or tokens.shape[1] < 2:
                    raise InputError(
                        f'the encoder gives {tuple(tokens.shape)} for images '
                        f'{tuple(images.shape)}; features need tokens (B, 1 + N, D), [CLS] first'
                    )
                # In float32, for a half-precision sum over many tokens loses digits.
                tokens = tokens.float()
                cls.append(tokens[:, 0].cpu())
                mean.append(tokens[:, 1:].mean(dim=1).cpu())
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not cls:
        raise InputError('no batch of images to take features from; is the data set empty?')
    return {'cls': torch.cat(cls), 'mean': torch.cat(mean)}
