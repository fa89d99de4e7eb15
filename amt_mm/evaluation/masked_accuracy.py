"""Accuracy of a classifier when patches selected by its own attention are painted black."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from amt_mm.errors import InputError
from amt_mm.names import ORDERS
from amt_mm.saliency import cls_attention

from .dataset_features import class_label
from .features import evaluating


def masked_accuracies(model: nn.Module, loader: DataLoader, ratios: Sequence[float],
                      orders: Sequence[str] = tuple(ORDERS), seed: int = 0,
                      progress: str | None = None) -> dict[str, list[float]]:
    """Classify images with a growing share of black patches.

    The masked-image experiment of AttMask (Kakogeorgiou et al., ECCV 2022). Attention is that of
    the classifier's own last block, [CLS] to each patch, mean over heads, on the whole image.
    ``floor(N r)`` patches are painted; those of one ratio are also painted at all higher ones.

    Args:
        model: A classifier of mmpretrain with ``data_preprocessor`` and a vision transformer with
            [CLS]. It runs in evaluation mode; its modes are restored.
        loader: Loads packed images with one class label each.
        ratios: Shares of painted patches, each from 0 to 1.
        orders: Of :data:`amt_mm.names.ORDERS`: which patches are painted first. Ties are painted in
            the order of the grid.
        seed: Seed of ``'random'``, whose order depends only on it and the image's position in the
            loader.
        progress: Title of a progress bar on a terminal. Defaults to None: no bar.

    Returns:
        Order -> accuracies in per cent, one per ratio.

    Raises:
        InputError: No image or ratio, an invalid ratio or order, an image without exactly one
            label, or images that are not a multiple of the patch size.
    """
    if not ratios or min(ratios) < 0 or max(ratios) > 1:
        raise InputError(f'ratios={list(ratios)}: give at least one share of patches, each from 0 '
                         'to 1')
    if unknown := [order for order in orders if order not in ORDERS]:
        raise InputError(f'order {unknown[0]!r} is unknown: use {", ".join(ORDERS)}')
    if progress is not None:
        from tqdm import tqdm

        loader = tqdm(loader, desc=progress, disable=None)
    hits = {order: [0] * len(ratios) for order in orders}
    seen = 0
    patch_size = tuple(model.backbone.patch_embed.projection.kernel_size)
    with evaluating(model):
        for batch in loader:
            labels = torch.tensor([class_label(sample) for sample in batch['data_samples']])
            images = model.data_preprocessor(batch)['inputs']  # (B, 3, H, W)
            colour = black_pixel(model.data_preprocessor, images)
            attention = cls_attention(model.backbone, images).mean(dim=1)  # (B, N)
            for order in orders:
                ranks = _order(order, attention, seed, seen)
                for i, ratio in enumerate(ratios):
                    count = math.floor(attention.shape[1] * Fraction(str(ratio)))
                    painted = paint_patches(images, ranks[:, :count], patch_size, colour)
                    found = model(painted).argmax(dim=1).cpu()
                    hits[order][i] += int((found == labels).sum())
            seen += len(labels)
    if not seen:
        raise InputError('no images to classify; is the data set empty?')
    return {order: [100 * hit / seen for hit in found] for order, found in hits.items()}


def paint_patches(images: Tensor, patches: Tensor, patch_size: tuple[int, int], colour: Tensor
                  ) -> Tensor:
    """Return images with some patches filled with a colour.

    Args:
        images: ``(B, C, H, W)``.
        patches: Indices of patches, row by row, ``(B, n)``.
        patch_size: Height and width in pixels.
        colour: ``(C,)``.

    Raises:
        InputError: The images are not a multiple of the patch size.
    """
    rows, columns = images.shape[2] // patch_size[0], images.shape[3] // patch_size[1]
    if (rows * patch_size[0], columns * patch_size[1]) != tuple(images.shape[2:]):
        raise InputError(f'images of {images.shape[2]}x{images.shape[3]} pixels are not a multiple '
                         f'of the patch size {patch_size[0]}x{patch_size[1]}: crop them')
    hidden = torch.zeros(len(images), rows * columns, dtype=torch.bool, device=images.device)
    hidden.scatter_(1, patches, True)
    hidden = hidden.unflatten(1, (1, rows, columns))  # (B, 1, rows, columns)
    hidden = hidden.repeat_interleave(patch_size[0], 2).repeat_interleave(patch_size[1], 3)
    return torch.where(hidden, colour.to(images).view(-1, 1, 1), images)


def black_pixel(preprocessor: nn.Module, images: Tensor) -> Tensor:
    """Return a black pixel as the preprocessor normalises it, ``(C,)``."""
    zeros = images.new_zeros(images.shape[1])
    if not getattr(preprocessor, '_enable_normalize', False):
        return zeros
    return (zeros - preprocessor.mean.flatten()) / preprocessor.std.flatten()


def _order(order: str, scores: Tensor, seed: int, first: int) -> Tensor:
    """Return the patches in the order of painting, ``(B, N)``; images count from ``first``."""
    if order == 'random':
        drawn = [np.random.default_rng([seed, first + i]).permutation(scores.shape[1])
                 for i in range(len(scores))]
        return torch.from_numpy(np.stack(drawn)).to(scores.device)
    return scores.argsort(dim=1, descending=order == 'high', stable=True)
