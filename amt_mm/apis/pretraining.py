"""Pre-train a recipe on a folder of one's own images."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from mmpretrain.models import VisionTransformer
from mmpretrain.registry import DATASETS

from amt_mm.checkpoints.describe import describe
from amt_mm.checkpoints.digest import checkpoint_digest
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.config.batch_and_epochs import recommended_options
from amt_mm.config.options import check_options, knows
from amt_mm.config.reading import merge_options, read_config
from amt_mm.datasets.train_and_test import check_train_and_test, class_names
from amt_mm.errors import InputError
from amt_mm.json_files import read_json
from amt_mm.messages import warn
from amt_mm.names import RECIPES, SIZES
from amt_mm.shipped import configs_folder

from .comparison import finished, without_places
from .step_times import step_times

# Fewer images leave an encoder that knows little more than they show.
_FEW_IMAGES = 500
# Fewer test images or more classes than this per class say little about an encoder.
_FEW_PER_CLASS = 5
# Crops to train on from a given encoder on: docs/recipes.md has what they bring.
CONTINUED_CROPS = 40_000
# Folder of reduced copies within the results.
REDUCED = 'reduced_images'
_DATA_SETS = ('train_dataloader.dataset', 'probe.train', 'probe.test')


@dataclass(frozen=True)
class Images:
    """What there is to learn from.

    Attributes:
        where: The folder, or what the images are.
        training: Number of images that are trained on.
        held_out: Number of images that only evaluation sees.
        left_out: Number of unreadable images.
        classes: Names of the classes, None without labels.
        advice: What to know about them before the start, one sentence each.
    """

    where: str
    training: int
    held_out: int
    left_out: int
    classes: tuple[str, ...] | None
    advice: tuple[str, ...]

    def __str__(self) -> str:
        classes = f'{len(self.classes)} classes' if self.classes else 'no classes'
        return (f'{self.where}: {self.training:,} images to train on, {self.held_out:,} held out, '
                f'{classes}')


def base_config(folder: str | Path | None = None, size: str = 'mini',
                pixels: Path | None = None, pretrained: Path | None = None,
                reduced: Path | None = None, unlabelled: bool = False) -> Config:
    """Read the config that recipes are put on.

    Args:
        folder: Folder of images, as :class:`amt_mm.datasets.ImageFolder` reads it. Defaults to
            None: generated scenes.
        size: One of :data:`amt_mm.names.SIZES`; scenes have ``'mini'`` alone.
        pixels: A config that says how the images are read, such as ``amt statistics`` writes.
            Defaults to None: as photographs.
        pretrained: The checkpoint from whose encoder the recipe ``'continue'`` goes on; patches are
            as many as those of ``size``. Defaults to None: random weights.
        reduced: Folder for copies of large photographs in reduced size, which are read in their
            place. Defaults to None: all are decoded in full size for each crop.
        unlabelled: Train on all images below the folder, whatever its subfolders mean. Defaults to
            False: subfolders are splits and classes, and images are held out.

    Raises:
        InputError: No such folder or config, or the encoder is no vision transformer with [CLS].
    """
    kind = 'scenes' if folder is None else 'folder'
    cfg = read_config(configs_folder() / 'pretrain' / f'mae_{SIZES[size]}_{kind}.py')
    if folder is not None:
        if not Path(folder).is_dir():
            raise InputError(f'{folder}: no such folder')
        merge_options(cfg, {f'{name}.data_root': str(Path(folder).resolve())
                            for name in _DATA_SETS})
        if reduced is not None:
            cfg.merge_from_dict(dict(overlay=dict(reduced_images=str(reduced.resolve()))))
        if unlabelled:
            merge_options(cfg, {f'{name}.{key}': value for name in _DATA_SETS
                                for key, value in (('with_label', False), ('split', None))})
    if pixels is not None:
        cfg.merge_from_dict(read_config(pixels).to_dict())
    if pretrained is not None:
        _take_encoder(cfg, pretrained)
    return cfg


def _take_encoder(cfg: Config, checkpoint: Path) -> None:
    """Give a config the encoder of a checkpoint, in place; the decoder is half as wide."""
    found = describe(checkpoint).backbone
    if not found.get('with_cls_token', True):
        raise InputError(f'{checkpoint}: MAE cannot start from an encoder without [CLS]; use one '
                         'with it, or evaluate this one as it is (amt evaluate)')
    arch, patch_size = found['arch'], found['patch_size']
    width = (arch if isinstance(arch, dict) else VisionTransformer.arch_zoo[arch])['embed_dims']
    model = cfg.model
    side = model.backbone.get('img_size', 224) // model.backbone.patch_size * patch_size
    model.backbone.update(found)
    model.neck.update(embed_dim=width, decoder_embed_dim=width // 2, patch_size=patch_size)
    model.head.patch_size = patch_size
    hook = dict(type='amt_mm.PretrainedBackboneHook', checkpoint=str(checkpoint.resolve()))
    cfg.merge_from_dict(dict(overlay=dict(image_size=side, hooks=dict(pretrained=hook))))
    # Another file of this name is another run.
    cfg.pretrained = checkpoint_digest(checkpoint)


def look_at_images(cfg: Config) -> Images:
    """Count the images of a config from :func:`base_config`, and say what is unusual.

    Raises:
        InputError: There is no image, or none for one of the parts, or a class has held-out images
            alone.
    """
    cfg = finished(deepcopy(cfg))
    train, held_out = (DATASETS.build(part) for part in (cfg.train_dataloader.dataset,
                                                         cfg.probe.test))
    classes = class_names(train)
    where = getattr(train, 'data_root', '') or 'generated scenes'
    if classes is not None:
        check_train_and_test(train, held_out, where)
    held = 0 if cfg.probe.test.split is None else len(held_out)
    advice = []
    if len(train) < _FEW_IMAGES:
        advice.append(f'{len(train)} images are few: below {_FEW_IMAGES}, an encoder that was '
                      'trained on other images usually serves better (docs/own_images.md)')
    if classes is None:
        advice.append('without classes (subfolders, one for each) there is no accuracy to measure'
                      + ('; --unlabelled trains on the images held out, too' if held else ''))
    else:
        count = Counter(held_out.get_cat_ids(i)[0] for i in range(len(held_out)))
        rare = sum(count[label] < _FEW_PER_CLASS for label in range(len(classes)))
        if rare:
            advice.append(f'{rare} of {len(classes)} classes have fewer than {_FEW_PER_CLASS} '
                          'held-out images: accuracies will be uncertain')
    left_out = sum(getattr(part, 'left_out', 0) for part in (train, held_out)[:1 + (held > 0)])
    return Images(where, len(train), held, left_out, classes, tuple(advice))


def put_recipe(base: Config, recipe: str, images: int, options: Mapping | None = None,
               crops: int | None = None) -> Config:
    """Put a recipe on a config; batch, rate and epochs follow from the number of images.

    Guidance begins after a quarter of the epochs and is renewed each quarter.

    Args:
        base: From :func:`base_config`; it is left as it is.
        recipe: One of :data:`amt_mm.names.RECIPES`.
        images: Number of training images.
        options: As for ``--cfg-options``; they win. ``train_cfg.max_epochs`` moves the schedule
            with it.
        crops: Crops to train on. Defaults to what
            :func:`~amt_mm.config.batch_and_epochs.recommended_options` recommends.

    Returns:
        A resolved config.

    Raises:
        InputError: An option that does not fit.
    """
    cfg = _with_recipe(base, recipe)
    options = dict(options or {})
    epochs = options.get('train_cfg.max_epochs')
    if isinstance(epochs, int):
        crops = epochs * images
    sized = recommended_options(images, crops)
    if 'saliency' in cfg.overlay.get('hooks', {}):
        quarter = max(1, round(sized['train_cfg.max_epochs'] / 4))
        sized.update({'overlay.hooks.saliency.begin': quarter,
                      'overlay.hooks.saliency.interval': quarter})
    for line in check_options(cfg, options, 'option'):
        warn(line)
    merge_options(cfg, {**sized, **options})
    return finished(cfg)


def own_options(base: Config, recipe: str, options: Mapping) -> dict:
    """Choose the options that the config of a recipe has; another recipe may have the others."""
    cfg = _with_recipe(base, recipe)
    return {key: value for key, value in options.items() if knows(cfg, key)}


def _with_recipe(base: Config, recipe: str) -> Config:
    cfg = deepcopy(base)
    cfg.merge_from_dict(read_config(configs_folder() / '_base_' / RECIPES[recipe]).to_dict())
    return cfg


def crops_in(minutes: float, cfg: Config, folder: Path) -> int:
    """Estimate how many crops a recipe takes in some minutes of training on this machine.

    The estimate for a config is kept in a folder, so that the same command continues a run.

    Args:
        minutes: Of training alone.
        cfg: From :func:`put_recipe`; a few of its steps are timed.
        folder: Of the results.

    Raises:
        InputError: What was kept is damaged.
    """
    config = repr(without_places(cfg, cfg.to_dict()))
    config = hashlib.blake2b(config.encode(), digest_size=8).hexdigest()
    file = folder / f'crops_in_{minutes:g}_minutes_{config}.json'
    if not file.is_file():
        seconds, = step_times({'': cfg}).values()
        crops = max(1, int(60 * minutes / seconds * cfg.train_dataloader.batch_size))
        write_text(file, json.dumps(crops))
    crops = read_json(file)
    if not isinstance(crops, int) or crops < 1:
        raise InputError(f'{file} is no number of crops: remove it, and the same command makes it '
                         'again')
    return crops


def default_size() -> str:
    """``'small'`` with a GPU, ``'mini'`` on a CPU, where larger ones take hours."""
    return 'small' if torch.cuda.is_available() else 'mini'
