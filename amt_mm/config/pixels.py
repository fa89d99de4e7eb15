"""Set how the pixels of image files are read, and their number of channels, in a whole config."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from mmengine.config import Config, ConfigDict

from amt_mm.checks import is_number
from amt_mm.config_parts import class_name
from amt_mm.datasets.load_pixels import LoadPixels
from amt_mm.errors import InputError
from amt_mm.messages import warn

from .image_size import pipelines
from .reading import read_config

# Fields that go to LoadPixels.
_LOADING = ('channels', 'window', 'pages', 'channel_axis')
_FIELDS = (*_LOADING, 'mean', 'std')
_LOADERS = ('LoadImage', 'LoadImageFromFile')
_FAST = ('ReadImage', 'DecodeRandomResizedCrop')
# Transforms for colours of 8 bits.
_COLOURS = ('ColorJitter', 'RandomGrayscale', 'Solarize', 'GaussianBlur', 'RandAugment',
            'AutoAugment', 'RandomErasing', 'Lighting', 'Posterize', 'Equalize')


def set_pixels(cfg: Config, pixels: Mapping) -> None:
    """Read images of any number of channels and any depth.

    Changes the loading transform of every pipeline, probes included, the first layer of the
    backbone and the statistics of the preprocessor. Augmentations of colours are left out, with a
    warning. The settings stay in the config as ``pixels``, so that who evaluates a checkpoint can
    read images alike.

    Args:
        cfg: The config, changed in place.
        pixels: ``channels``, ``window``, ``pages`` and ``channel_axis``, see
            :class:`amt_mm.datasets.LoadPixels`; ``mean`` and ``std`` of each channel after the
            window, in 0 to 255.

    Raises:
        InputError: Unknown, missing or invalid fields, a fast pipeline, which decodes photographs
            alone, or a pipeline that loads no files.
    """
    pixels = {name: value for name, value in pixels.items() if name != '_delete_'}
    unknown = set(pixels) - set(_FIELDS)
    if unknown:
        raise InputError(f'overlay.pixels.{min(unknown)} is unknown: use {", ".join(_FIELDS)}')
    missing = {'channels', 'mean', 'std'} - set(pixels)
    if missing:
        raise InputError(f'overlay.pixels has no {min(missing)}: amt statistics FOLDER writes all '
                         'of it')
    loading = {name: pixels[name] for name in _LOADING if name in pixels}
    count = LoadPixels(**loading).count
    for name in ('mean', 'std'):
        _check_statistics(name, pixels[name], count)
    left_out = set()
    for pipeline in pipelines(cfg):
        left_out |= _adapt(pipeline, loading)
    if left_out:
        warn(f'pixels: left out {", ".join(sorted(left_out))}, which are for 8-bit colours')
    backbone = cfg.model.backbone
    backbone.patch_cfg = {**backbone.get('patch_cfg', {}), 'in_channels': count}
    # Other hosts of ours take it from the backbone; these decoders have it in mmpretrain's configs.
    if class_name(cfg.model) in ('MAE', 'AMTMAE'):
        cfg.model.neck.in_chans = cfg.model.head.in_channels = count
    cfg.setdefault('data_preprocessor', ConfigDict())
    preprocessor = cfg.data_preprocessor
    if preprocessor.get('type') == 'SelfSupDataPreprocessor':
        preprocessor['type'] = 'amt_mm.ChannelsDataPreprocessor'
    for name in ('to_rgb', 'bgr_to_rgb', 'rgb_to_bgr'):
        preprocessor.pop(name, None)
    preprocessor.update(mean=list(pixels['mean']), std=list(pixels['std']))
    cfg.pixels = pixels


def read_pixels_config(path: Path) -> ConfigDict:
    """Read the ``overlay.pixels`` of a config, such as ``amt statistics`` writes.

    Raises:
        InputError: No such config, or it has none.
    """
    pixels = read_config(path).get('overlay', {}).get('pixels')
    if not pixels:
        raise InputError(f'config {path} has no overlay.pixels')
    return pixels


def _check_statistics(name: str, values: object, count: int) -> None:
    if not (isinstance(values, Sequence) and len(values) == count and all(
            is_number(value) and math.isfinite(value) and (name == 'mean' or value > 0)
            for value in values)):
        raise InputError(f'overlay.pixels.{name}={values!r} must have {count} '
                         f'{"positive " if name == "std" else ""}numbers, one for each channel')


def _adapt(pipeline: list, loading: Mapping) -> set[str]:
    """Change a pipeline in place; the names of transforms that were left out."""
    names = [class_name(transform) for transform in pipeline]
    fast = [name for name in names if name in _FAST]
    if fast:
        raise InputError(f'overlay.pixels: {fast[0]} decodes only 8-bit photographs: leave '
                         'out configs/_base_/datasets/fast_input.py')
    loader = next((transform for transform, name in zip(pipeline, names, strict=True)
                   if name in _LOADERS), None)
    if loader is None:
        raise InputError(f'overlay.pixels: nothing in the pipeline {", ".join(names)} loads files')
    loader.clear()
    loader.update(type='amt_mm.LoadPixels', **loading)
    return _leave_out_colours(pipeline)


def _leave_out_colours(transforms: list) -> set[str]:
    left_out = set()
    for transform in list(transforms):
        name = class_name(transform)
        if name in _COLOURS:
            left_out.add(name)
            transforms.remove(transform)
        # Pillow has no images of other channels.
        if transform.get('backend') == 'pillow':
            transform['backend'] = 'cv2'
        inner = transform.get('transforms') or ()
        for part in inner if name == 'MultiView' else [inner]:
            left_out |= _leave_out_colours(part) if part else set()
        if name == 'RandomApply' and not transform['transforms']:
            transforms.remove(transform)
    return left_out
