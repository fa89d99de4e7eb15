"""Accuracy of a classifier when patches selected by attention are painted black."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from amt_mm.errors import InputError
from amt_mm.names import ORDERS

from .attention_guide import attention_to_patches
from .dataset_features import class_label
from .features import evaluating
from .occlusion import black_pixel, check_ratios, paint_patches, painted, patch_order, patch_size


def masked_accuracies(model: nn.Module, loader: DataLoader, ratios: Sequence[float],
                      orders: Sequence[str] = tuple(ORDERS), seed: int = 0,
                      progress: str | None = None, guide: nn.Module | None = None
                      ) -> dict[str, list[float]]:
    """Classify images with a growing share of black patches.

    The masked-image experiment of AttMask (Kakogeorgiou et al., ECCV 2022). Attention is that of
    [CLS] to each patch of the whole image, see
    :func:`~amt_mm.evaluation.attention_guide.attention_to_patches`.
    ``floor(N r)`` patches are painted; those of one ratio are also painted at all higher ones.

    Args:
        model: A classifier of mmpretrain with ``data_preprocessor`` and a vision transformer with
            [CLS], which it may lack with a ``guide``. It runs in evaluation mode; its modes are
            restored.
        loader: Loads packed images with one class label each.
        ratios: Shares of painted patches, each from 0 to 1.
        orders: Of :data:`amt_mm.names.ORDERS`: which patches are painted first. Ties are painted in
            the order of the grid.
        seed: Seed of ``'random'``, whose order depends only on it and the image's position in the
            loader.
        progress: Title of a progress bar on a terminal. Defaults to None: no bar.
        guide: The encoder whose attention counts, see
            :func:`~amt_mm.evaluation.attention_guide.load_guide`. Defaults to None: the classifier.

    Returns:
        Order -> accuracies in per cent, one per ratio.

    Raises:
        InputError: No image or ratio, an invalid ratio or order, an image without exactly one
            label, or images that are not a multiple of the patch size.
    """
    check_ratios('ratios', ratios)
    if unknown := [order for order in orders if order not in ORDERS]:
        raise InputError(f'order {unknown[0]!r} is unknown: use {", ".join(ORDERS)}')
    hits = {order: [0] * len(ratios) for order in orders}
    seen = 0
    size = patch_size(model.backbone)
    with evaluating(model):
        for batch in tqdm(loader, progress, disable=None if progress else True):
            labels = torch.tensor([class_label(sample) for sample in batch['data_samples']])
            images = model.data_preprocessor(batch)['inputs']  # (B, 3, H, W)
            colour = black_pixel(model.data_preprocessor, images)
            attention = attention_to_patches(model.backbone, images, guide)  # (B, N)
            places = torch.arange(seen, seen + len(labels))
            for order in orders:
                ranks = patch_order(order, attention, seed, places)
                for i, ratio in enumerate(ratios):
                    patches = ranks[:, :painted(ratio, attention.shape[1])]
                    found = model(paint_patches(images, patches, size, colour)).argmax(dim=1).cpu()
                    hits[order][i] += int((found == labels).sum())
            seen += len(labels)
    if not seen:
        raise InputError('no images to classify; is the data set empty?')
    return {order: [100 * hit / seen for hit in found] for order, found in hits.items()}
