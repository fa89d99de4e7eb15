"""Set the image size throughout a config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mmengine.config import Config, ConfigDict

from amt_mm.errors import InputError

_CROPS = ('RandomResizedCrop', 'RandomResizedCropWithBox')


def set_image_size(cfg: Config, size: int | Mapping[str, int]) -> None:
    """Set the side of the square images that the model sees.

    Changes random crops, centre crops (the edge before them in proportion), whole-image resizes
    and the backbone.

    Args:
        cfg: The config, changed in place.
        size: Pixels; or ``size`` and ``edge``, the edge before the centre crop. Images that are
            small already, such as CIFAR's, want ``edge`` equal to ``size``, so that the crop cuts
            nothing off.

    Raises:
        InputError: Not a positive integer, an edge below the size, or a pipeline in which nothing
            sets a size.
    """
    edge = None
    if isinstance(size, Mapping) and set(size) == {'size', 'edge'}:
        size, edge = size['size'], size['edge']
    if type(size) is not int or size < 1:
        raise InputError(f'overlay.image_size={size!r}: give the side of the square images in '
                         'pixels, or size and edge (for other shapes, change the pipelines)')
    if edge is not None and (type(edge) is not int or edge < size):
        raise InputError(f'overlay.image_size.edge={edge!r} must be at least {size}: the '
                         'centre crop is cut from it')
    for pipeline in pipelines(cfg):
        if not _resize(pipeline, size, edge):
            names = ', '.join(transform['type'] for transform in pipeline)
            raise InputError(f'overlay.image_size={size}: nothing in the pipeline {names} sets '
                             'the size of an image')
    cfg.model.backbone.img_size = size


def pipelines(cfg: Config) -> Iterator[list]:
    """Yield every pipeline of a config's loaders, also those of wrapped data sets."""
    loaders = [cfg.get(f'{name}_dataloader') for name in ('train', 'val', 'test')]
    loaders.append((cfg.get('test_cfg') or {}).get('train_dataloader'))
    seen = set()
    for loader in loaders:
        for pipeline in dataset_pipelines(loader.get('dataset', {}) if loader else {}):
            # Validation and test may share a pipeline.
            if id(pipeline) not in seen:
                seen.add(id(pipeline))
                yield pipeline


def dataset_pipelines(dataset: Mapping) -> Iterator[list]:
    """Yield the pipelines of a data set and of those it wraps."""
    if 'pipeline' in dataset:
        yield dataset['pipeline']
    for child in (*dataset.get('datasets', ()), dataset.get('dataset')):
        if child:
            yield from dataset_pipelines(child)


def _resize(pipeline: list[ConfigDict], size: int, edge: int | None) -> bool:
    by_name = {transform['type'].split('.')[-1]: transform for transform in pipeline}
    changed = False
    for name in _CROPS:
        if name in by_name:
            by_name[name]['scale'], changed = size, True
    if 'CenterCrop' in by_name:
        crop = by_name['CenterCrop']
        if 'ResizeEdge' in by_name:
            resize = by_name['ResizeEdge']
            resize['scale'] = edge or round(resize['scale'] * size / crop['crop_size'])
        crop['crop_size'], changed = size, True
    elif 'Resize' in by_name:
        by_name['Resize']['scale'], changed = (size, size), True
    return changed
