"""Gallery of a guided run: images, their saliency per refresh, mask plans, reconstructions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from mmpretrain.registry import DATASETS
from torch import nn

from amt_mm.datasets import whole_image_view
from amt_mm.saliency import SaliencyStore, resample

from .page import Picture
from .pictures import denormalise, paste_reconstruction, plan_picture, saliency_overlay, upscale
from .report import GalleryRow

# Pixels per token in the pictures, readable on a phone even for patches of 8 pixels.
_CELL = 20


def gallery(model: nn.Module, cfg: Config, maps: Sequence[Path], count: int = 6,
            seed: int = 0) -> list[GalleryRow]:
    """Show some training images as the run saw them.

    Args:
        model: The trained model, on any device.
        cfg: Its resolved config.
        maps: Saliency map files of the refreshes, in order.
        count: Number of images, one drawn from each of as many equal parts of the data set.
        seed: Of the images and the mask plans shown.

    Returns:
        One row per image.
    """
    view = whole_image_view(DATASETS.build(cfg.train_dataloader.dataset))
    # One of each part: equal steps would meet the same few classes where classes alternate.
    edges = np.linspace(0, len(view), min(count, len(view)) + 1).astype(int)
    chosen = np.random.default_rng(seed).integers(edges[:-1], edges[1:]).tolist()
    inputs = model.data_preprocessor(default_collate([view[i] for i in chosen]))['inputs']
    stores = [SaliencyStore(path) for path in maps]
    saliency = [store.lookup(torch.tensor(chosen)) for store in stores]
    grid = model.backbone.grid
    whole = torch.tensor([[0., 0., 1., 1.]]).expand(len(chosen), -1)
    generator = torch.Generator().manual_seed(seed)
    window = model.data_preprocessor.window
    weights = resample(*window(saliency[-1], whole), grid) if saliency else None
    mask_generator = model.data_preprocessor.mask_generator
    mask_generator.finish()
    plan = mask_generator(len(chosen), grid, weights, generator=generator)
    states = plan.states().numpy()
    model.eval()
    predicted = model.reconstruct(inputs, plan.to(inputs.device)).cpu()
    rows = []
    for row, index in enumerate(chosen):
        image = _picture(model, inputs[row].cpu(), grid)
        rows.append(GalleryRow(
            name=Path(str(view.get_data_info(index).get('img_path', f'sample {index}'))).name,
            image=image,
            saliency=[Picture(f'after epoch {store.step}',
                              saliency_overlay(image, each[row].numpy()))
                      for store, each in zip(stores, saliency, strict=True)],
            plan=plan_picture(image, states[row], grid),
            reconstruction=paste_reconstruction(
                image, _picture(model, predicted[row], grid), states[row], grid)))
    return rows


def _picture(model: nn.Module, image: torch.Tensor, grid: tuple[int, int]) -> np.ndarray:
    preprocessor = model.data_preprocessor
    pixels = denormalise(image, preprocessor.mean.flatten().tolist(),
                         preprocessor.std.flatten().tolist())
    return upscale(pixels, grid, _CELL, smooth=True)
