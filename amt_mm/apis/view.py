"""Show on one page what the encoder of a checkpoint does with a folder of photographs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dataset import default_collate
from torch import Tensor, nn
from torch.utils.data import Subset
from tqdm import tqdm

import amt_mm
from amt_mm.checkpoints import Checkpoint
from amt_mm.checkpoints.describe import Pretraining
from amt_mm.checkpoints.load_backbone import LoadReport
from amt_mm.checkpoints.output import require_outside, require_writable
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.datasets import ImageFolder
from amt_mm.datasets.train_and_test import class_names
from amt_mm.errors import InputError
from amt_mm.evaluation import extract_features
from amt_mm.evaluation.dataset_features import (
    dataset_labels,
    has_cls,
    whole_image_tokens,
    whole_images,
)
from amt_mm.evaluation.drawing import draw_evenly
from amt_mm.evaluation.features import evaluating
from amt_mm.models.recorded_mae import build_mae
from amt_mm.models.recorded_masks import mask_recipe
from amt_mm.visualization.attention_section import attention_section
from amt_mm.visualization.components_section import components_row, components_section
from amt_mm.visualization.neighbours_section import neighbours_section
from amt_mm.visualization.page import details_section, document, render_within
from amt_mm.visualization.plan_section import plan_section, recipe_maps
from amt_mm.visualization.reconstruction_section import (
    no_reconstruction,
    reconstruction_section,
)
from amt_mm.visualization.sections import Section
from amt_mm.visualization.shown import Shown

from .encoder import load_encoder

COUNT = 8
# Limits the time that a large folder takes; the page says how many were searched.
_MOST_NEIGHBOURS = 5000
_BATCH = 32
_MAX_BYTES = 10_000_000


def view(checkpoint: Path, folder: Path, out: Path, count: int | None = None, seed: int = 0,
         image_size: int | None = None, encoder: str | None = None) -> Path:
    """Write ``view.html`` and the pictures on it as PNG files.

    The page shows the attention of [CLS], how often each patch is masked, what a decoder
    reconstructs, the principal components of the patch features, and nearest neighbours.

    Args:
        checkpoint: Any that evaluation reads, see :func:`amt_mm.checkpoints.describe.describe`.
        folder: Images, in class subfolders or not, see :class:`amt_mm.datasets.ImageFolder`.
            Unreadable ones are named and left out.
        out: Folder of the results.
        count: Number of images shown, spread over the classes. Defaults to None: 8, or all of a
            smaller folder.
        seed: Of the choice of images and of the masks. Defaults to 0.
        image_size: Side in pixels; the short edge is scaled and the centre cut out, as in
            evaluation. Defaults to None: that of the pre-training, or 224.
        encoder: ``'teacher'`` or ``'student'`` of a checkpoint that has both. Defaults to None: the
            teacher.

    Returns:
        The page.

    Raises:
        InputError: No such folder or checkpoint, no encoder in it, fewer images than ``count``, or
            the results cannot be written or would lie among the images.
    """
    if not folder.is_dir():
        raise InputError(f'{folder}: no such folder')
    require_outside(out, folder)
    page = out / 'view.html'
    require_writable(page)
    loaded = load_encoder(checkpoint, image_size, encoder)
    model, cfg, pretraining = loaded.model, loaded.cfg, loaded.pretraining
    dataset = ImageFolder(data_root=str(folder), skip_unreadable=True, pipeline=loaded.pipeline)
    count = min(COUNT, len(dataset)) if count is None else count
    if not 1 <= count <= len(dataset):
        raise InputError(f'{folder}: it has {len(dataset)} images, {count} were requested: choose '
                         f'from 1 to {len(dataset)} (--images)')
    labels = dataset_labels(dataset)
    even = torch.zeros(len(dataset), dtype=torch.long) if labels is None else labels
    searched = draw_evenly(even, _MOST_NEIGHBOURS, [seed])
    rows = torch.isin(searched, draw_evenly(even, count, [seed])).nonzero().flatten().tolist()
    images = _Images(model, Subset(dataset, searched.tolist()), folder)
    with evaluating(model):
        sections = _sections(images, rows, loaded.content, pretraining, loaded.pooling, seed,
                             None if labels is None else labels[searched])
    written = sum(section.save(out) for section in sections)
    details = _details(checkpoint, folder, loaded.report, seed, written, len(dataset),
                       len(searched))
    write_text(page, render_within(lambda quality: document(
        f'What the encoder of {checkpoint.name} does', [_introduction(model, cfg, pretraining)],
        [*(section.html(quality) for section in sections), details_section(details)]),
        _MAX_BYTES))
    return page


class _Images:
    """Images of a folder as an encoder sees them.

    Args:
        model: A classifier whose backbone returns all tokens.
        dataset: Part of an ``ImageFolder``.
        folder: What names are relative to.
    """

    def __init__(self, model: nn.Module, dataset: Subset, folder: Path) -> None:
        self.model, self.dataset, self.folder = model, dataset, folder
        self.has_cls = has_cls(model)

    def name(self, row: int) -> str:
        """Return the path of an image in the folder."""
        path = self.dataset.dataset.get_data_info(self.dataset.indices[row])['img_path']
        return os.path.relpath(path, self.folder)

    def inputs(self, rows: Sequence[int]) -> Tensor:
        """Load and normalise some images, ``(m, 3, H, W)``."""
        batch = default_collate([self.dataset[row] for row in rows])
        return self.model.data_preprocessor(batch)['inputs']

    def shown(self, rows: Sequence[int]) -> Shown:
        """Return some images to be shown."""
        vit = self.model.backbone
        return Shown(self.inputs(rows), [self.name(row) for row in rows],
                     self.model.data_preprocessor, tuple(vit.patch_resolution), vit, self.has_cls)

    def batches(self, title: str) -> Iterator[Tensor]:
        """Yield all images, with a bar on a terminal once that takes more than two seconds."""
        yield from tqdm(whole_images(self.model, self.dataset, _BATCH), desc=title, unit='batch',
                        total=math.ceil(len(self.dataset) / _BATCH), delay=2, disable=None)

    def patch_tokens(self, inputs: Tensor) -> Tensor:
        """Encode images, ``(B, N, D)`` fp32."""
        return whole_image_tokens(self.model, inputs)[:, int(self.has_cls):].float()

    def features(self, pooling: str) -> Tensor:
        """Encode all images, ``(n, D)``."""
        return extract_features(
            self.model, self.batches('features'), partial(whole_image_tokens, self.model),
            pooling=[pooling], has_cls=self.has_cls)[pooling]


def _sections(images: _Images, rows: Sequence[int], content: Checkpoint, pretraining: Pretraining,
              pooling: str, seed: int, labels: Tensor | None) -> list[Section]:
    """Compute everything on the page."""
    shown = images.shown(rows)
    recipe = mask_recipe(content.config)
    means = recipe.source.means(shown.vit, partial(images.batches, 'mean map'))
    maps = recipe_maps(recipe, shown, means)
    weights = None if maps is None else recipe.weights(maps, shown.grid)
    try:
        mae = build_mae(content, pretraining.backbone, shown.inputs.shape[-1])
        reconstruction = no_reconstruction(
            'The checkpoint carries no decoder of MAE, so there is nothing to reconstruct with.'
        ) if mae is None else reconstruction_section(
            shown, mae.to(shown.inputs.device), recipe, weights, seed)
    except InputError as error:
        reconstruction = no_reconstruction(
            f'There is no reconstruction by this checkpoint: {error}.')
    what = 'the mean of the patch tokens' if pooling == 'mean' else '[CLS]'
    return [
        attention_section(shown), plan_section(shown, recipe, maps, seed=seed), reconstruction,
        components_section([components_row(shown, images.patch_tokens(shown.inputs))]),
        neighbours_section(
            images.features(pooling), rows, shown.names,
            lambda row: shown.picture(images.inputs([row])[0]), what, labels,
            class_names(images.dataset) or ())]


def _introduction(model: nn.Module, cfg: Config, pretraining: Pretraining) -> str:
    vit = model.backbone
    origin = pretraining.recipe or pretraining.host
    return (f'A vision transformer of {len(vit.layers)} blocks with '
            f'{vit.layers[0].attn.num_heads} heads and width {vit.embed_dims}'
            + (f', pre-trained by {origin}' if origin else '')
            + f'. It sees images of {cfg.model.backbone.img_size} pixels as '
            f'{vit.patch_resolution[0]} x {vit.patch_resolution[1]} patches; all pictures below '
            'show what it sees.')


def _details(checkpoint: Path, folder: Path, report: LoadReport, seed: int, written: int,
             found: int, searched: int) -> dict[str, str]:
    among = f', neighbours among {searched} of them' if searched < found else ''
    return {'checkpoint': str(checkpoint), 'encoder': str(report),
            'images': f'{found} in {folder}{among}', 'seed': str(seed),
            'pictures': f'{written} PNG files in the folders beside this page',
            'versions': f'amt_mm {amt_mm.__version__}, torch {torch.__version__}'}
