"""Let all pipelines of a config read large images from reduced copies."""

from __future__ import annotations

from mmengine.config import Config

from amt_mm.config_parts import class_name

from .image_size import pipelines

# A random crop of .3 of the area and of ratio 3:4 has .47 of the shorter side, so that a copy of
# this many times the size of the crop has 1.4 times its pixels across.
_TIMES = 3
_DEFAULT_SIZE = 224


def set_reduced_images(cfg: Config, folder: str) -> None:
    """Read large images from copies of three times the size of the model's images.

    Args:
        cfg: The config, changed in place. Pipelines with other loading transforms than
            ``LoadImage`` are left alone.
        folder: Of the copies, see :class:`amt_mm.datasets.LoadReducedImage`.
    """
    size = cfg.model.backbone.get('img_size', _DEFAULT_SIZE)
    side = _TIMES * (size if isinstance(size, int) else max(size))
    for pipeline in pipelines(cfg):
        for transform in pipeline:
            if class_name(transform) == 'LoadImage':
                transform.update(type='amt_mm.LoadReducedImage', folder=folder, side=side)
