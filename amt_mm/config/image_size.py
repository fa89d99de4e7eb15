"""Set the image size throughout a config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from mmengine.config import Config, ConfigDict

from amt_mm.config_parts import LOADERS, class_name, datasets_in
from amt_mm.errors import InputError

_CROPS = ('RandomResizedCrop', 'RandomResizedCropWithBox', 'DecodeRandomResizedCrop')


def set_image_size(cfg: Config, size: int | Sequence[int] | Mapping) -> None:
    """Set the size of the images that the model sees.

    Changes random crops, centre crops (the edge before them in proportion), whole-image resizes,
    also those of probes, and the backbone.

    Args:
        cfg: The config, changed in place.
        size: Side of square images in pixels, or ``(height, width)``; or ``size`` and ``edge``,
            the shorter edge before the centre crop. Defaults of ``edge`` are in proportion to the
            longer side of the crop, which no image is then too small for. Images that are small
            already, such as CIFAR's, want ``edge`` equal to ``size``, so that the crop cuts
            nothing off.

    Raises:
        InputError: Not positive integers, an edge below the size, or a pipeline in which nothing
            sets a size.
    """
    edge = None
    if isinstance(size, Mapping) and set(size) == {'size', 'edge'}:
        size, edge = size['size'], size['edge']
    sides = (size, size) if type(size) is int else size
    if not isinstance(sides, Sequence) or len(sides) != 2 or not all(
            type(side) is int and side > 0 for side in sides):
        raise InputError(f'overlay.image_size={size!r}: give the side of square images in pixels, '
                         'height and width, or size and edge')
    if edge is not None and (type(edge) is not int or edge < max(sides)):
        raise InputError(f'overlay.image_size.edge={edge!r} must be at least {max(sides)}: the '
                         'centre crop is cut from it')
    for pipeline in pipelines(cfg):
        if not _resize(pipeline, tuple(sides), edge):
            names = ', '.join(transform['type'] for transform in pipeline)
            raise InputError(f'overlay.image_size={size}: nothing in the pipeline {names} sets '
                             'the size of an image')
    cfg.model.backbone.img_size = size if type(size) is int else tuple(sides)


def pipelines(cfg: Config) -> Iterator[list]:
    """Yield every pipeline of a config's loaders and probes, also those of wrapped data sets."""
    loaders = [*map(cfg.get, LOADERS), (cfg.get('test_cfg') or {}).get('train_dataloader')]
    hooks = (*(cfg.get('default_hooks') or {}).values(), *(cfg.get('custom_hooks') or ()))
    probes = [cfg.get('probe'), *(hook for hook in hooks if isinstance(hook, Mapping))]
    datasets = [loader.get('dataset') for loader in loaders if loader]
    datasets += [probe[part] for probe in probes if probe for part in ('train', 'test', 'images')
                 if isinstance(probe.get(part), Mapping)]
    seen = set()
    for dataset in datasets:
        for pipeline in dataset_pipelines(dataset):
            # Validation and test may share a pipeline.
            if id(pipeline) not in seen:
                seen.add(id(pipeline))
                yield pipeline


def dataset_pipelines(dataset: Mapping | None) -> Iterator[list]:
    """Yield the pipelines of a data set and of those it wraps."""
    return (each['pipeline'] for each in datasets_in(dataset) if 'pipeline' in each)


def _resize(pipeline: list[ConfigDict], sides: tuple[int, int], edge: int | None) -> bool:
    """Set height and width of what a pipeline returns; False if nothing in it has a size."""
    by_name = {class_name(transform): transform for transform in pipeline}
    changed = False
    # mmcv writes width first, except in its random crops.
    height, width = sides
    for name in _CROPS:
        if name in by_name:
            by_name[name]['scale'], changed = height if height == width else sides, True
    if 'CenterCrop' in by_name:
        crop = by_name['CenterCrop']
        if 'ResizeEdge' in by_name:
            resize, before = by_name['ResizeEdge'], crop['crop_size']
            before = before if isinstance(before, int) else max(before)
            resize['scale'] = edge or round(resize['scale'] * max(sides) / before)
        crop['crop_size'], changed = height if height == width else (width, height), True
    elif 'Resize' in by_name:
        by_name['Resize']['scale'], changed = (width, height), True
    return changed
