"""Features of images from a frozen encoder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..errors import InputError

# Tokens (B, k + N, D), k of them before the patches -> one feature per image.
POOLINGS = {'cls': lambda tokens, k: tokens[:, 0],
            'mean': lambda tokens, k: tokens[:, k:].mean(dim=1)}


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Run in evaluation mode without gradients, then restore the mode of every module."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        # Not inference_mode: training could not use what a module caches here.
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def extract_features(model: nn.Module, batches: Iterable[Tensor],
                     forward: Callable[[Tensor], Tensor] | None = None,
                     progress: str | None = None, pooling: Sequence[str] = ('cls', 'mean'),
                     has_cls: bool = True) -> dict[str, Tensor]:
    """Encode images in evaluation mode, without gradients.

    Every module's mode is restored afterwards, also after an error.

    Args:
        model: The encoder, or the model that ``forward`` runs a part of.
        batches: Batches of normalised images, ``(B, 3, H, W)``, on any device.
        forward: Returns the tokens ``(B, 1 + N, D)`` of a batch, [CLS] first if there is one.
            Defaults to the model.
        progress: Title of a progress bar on a terminal, which needs tqdm. Defaults to None: no
            bar.
        pooling: Features to keep: ``'cls'``, the [CLS] token, ``'mean'``, the mean of the other
            tokens. Defaults to both.
        has_cls: Whether the first token is [CLS]. Defaults to True; without it, all tokens are
            patches and ``'mean'`` is the only pooling.

    Returns:
        Pooling -> features ``(n, D)``, float32, on the CPU, in the order of the batches.

    Raises:
        InputError: There is no image, tokens have another shape, or a pooling is unknown.
    """
    if not pooling or not set(pooling) <= set(POOLINGS):
        raise InputError(f"pooling is {pooling}; give 'cls', 'mean' or both")
    if 'cls' in pooling and not has_cls:
        raise InputError('the encoder has no [CLS] token to take as feature: use the mean of its '
                         'patch tokens (pooling=mean)')
    forward = model if forward is None else forward
    parameter = next(model.parameters(), None)
    device = torch.device('cpu') if parameter is None else parameter.device
    if progress is not None:
        from tqdm import tqdm

        batches = tqdm(batches, desc=progress, disable=None)

    parts: dict[str, list[Tensor]] = {name: [] for name in pooling}
    with evaluating(model):
        for images in batches:
            tokens = forward(images.to(device))  # (B, 1 + N, D)
            check_tokens(tokens, images)
            # A half-precision mean over many tokens loses digits.
            tokens = tokens.float()
            for name, part in parts.items():
                part.append(POOLINGS[name](tokens, int(has_cls)).cpu())
    if not all(parts.values()):
        raise InputError('no batch of images to take features from; is the data set empty?')
    return {name: torch.cat(part) for name, part in parts.items()}


def check_tokens(tokens: Tensor, images: Tensor) -> None:
    """Raise InputError unless an encoder returns ``(B, 1 + N, D)`` tokens for its images."""
    if tokens.ndim != 3 or tokens.shape[1] < 2:
        raise InputError(
            f'the encoder returns {tuple(tokens.shape)} for images {tuple(images.shape)}; '
            'features need tokens (B, 1 + N, D), [CLS] first '
            "(mmpretrain's transformers: model.backbone.out_type='raw')")
