"""Change the size of the images throughout a config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from mmengine.config import Config, ConfigDict

from amt_mm.errors import InputError

_CROPS = ('RandomResizedCrop', 'RandomResizedCropWithBox')


def set_image_size(cfg: Config, size: int | Mapping[str, int]) -> None:
    """Set the side of the square images that the model sees.

    Random crops and centre crops get the new side, the edge that an image is
    resized to before its centre crop grows or shrinks in proportion, an image that
    is resized as a whole gets the new side, and so does the backbone.

    Args:
        cfg: The config, changed in place.
        size: Pixels; or ``size`` and ``edge``, the edge before the centre crop. Images
            that are this small by themselves, such as CIFAR's, want ``edge`` equal
            to ``size``, for a crop would take what little there is.

    Raises:
        InputError: Not a positive number, an edge below the size, or a pipeline in
            which nothing sets a size.
    """
    edge = None
    if isinstance(size, Mapping) and set(size) == {'size', 'edge'}:
        size, edge = size['size'], size['edge']
    if type(size) is not int or size < 1:
        raise InputError(f'overlay.image_size={size!r}: give the side of the square images in '
                         'pixels, or size and edge (for others, change the pipelines)')
    if edge is not None and (type(edge) is not int or edge < size):
        raise InputError(f'overlay.image_size.edge={edge!r} must be {size} or more: the centre '
                         'crop is cut from it')
    for pipeline in pipelines(cfg):
        if not _resize(pipeline, size, edge):
            names = ', '.join(transform['type'] for transform in pipeline)
            raise InputError(f'overlay.image_size={size}: nothing in the pipeline {names} sets '
                             'the size of an image')
    cfg.model.backbone.img_size = size


def pipelines(cfg: Config) -> Iterator[list]:
    """Every pipeline of a config's loaders, those of wrapped data sets too."""
    loaders = [cfg.get(f'{name}_dataloader') for name in ('train', 'val', 'test')]
    loaders.append((cfg.get('test_cfg') or {}).get('train_dataloader'))
    seen = set()
    for loader in loaders:
        for pipeline in dataset_pipelines(loader.get('dataset', {}) if loader else {}):
            # Validation and test may share one.
            if id(pipeline) not in seen:
                seen.add(id(pipeline))
                yield pipeline


def dataset_pipelines(dataset: Mapping) -> Iterator[list]:
    """Pipelines of a data set and of those it wraps."""
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
