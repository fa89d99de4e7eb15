"""LabelFreeProbeHook: measure the encoder during pre-training without labels."""

from __future__ import annotations

from functools import partial

import torch
from mmengine.runner import Runner
from torch.utils.data import Subset

from amt_mm.errors import InputError
from amt_mm.evaluation.dataset_features import image_features
from amt_mm.evaluation.label_free_features import label_free_measures
from amt_mm.registry import DATASETS, HOOKS

from .probe_hook import ProbeHook


@HOOKS.register_module()
class LabelFreeProbeHook(ProbeHook):
    """Measure RankMe, alignment and uniformity every few epochs and at the end.

    They need no label (:mod:`amt_mm.evaluation.label_free`). The visualizer has them as
    ``label_free/cls_rankme``, ``label_free/mean_alignment`` and so on. RankMe above that of other
    runs on the same images, with the same width, suggests a better linear probe; alone, no measure
    shows a better encoder: random weights may have a high uniformity.

    Example::

        default_hooks = dict(label_free=dict(
            type='amt_mm.LabelFreeProbeHook', interval=5, images=_base_.probe.test))

    Args:
        images: Config of a data set of whole images; labels are not read.
        *args, **kwargs: See :class:`~amt_mm.hooks.probe_hook.ProbeHook`.
        max_images: Maximum number of images, drawn at random; None takes all. Defaults to 5,000,
            each of which is encoded three times.

    Raises:
        InputError: A number is out of range, or there is only one image; and see the parent.
    """

    title = 'Label-free measures'
    prefix = 'label_free'

    def __init__(self, images: dict, *args, max_images: int | None = 5000, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        if max_images is not None and max_images < 2:
            raise InputError(f'LabelFreeProbeHook: max_images={max_images} must be at least 2, or '
                             'None for all images')
        self.images = images
        self.max_images = max_images

    def build(self) -> None:
        """Build the data set and draw from it."""
        self._images = DATASETS.build(self.images)
        if self.max_images is not None and self.max_images < len(self._images):
            order = torch.randperm(len(self._images),
                                   generator=torch.Generator().manual_seed(self.seed))
            self._images = Subset(self._images, order[:self.max_images].sort().values.tolist())

    def measure(self, runner: Runner) -> dict[str, float]:
        """Return the measures of [CLS] and of the mean token."""
        encode = partial(self.encode, runner, self._images, image_features)
        found = label_free_measures(encode(), encode, self.seed)
        return {f'label_free/{pooling}_{name}': value
                for pooling, measures in found.items() for name, value in measures.items()}

    def describe(self, scalars: dict[str, float]) -> tuple[str, str]:
        """Return all measures and the number of images."""
        return (', '.join(f'{name.removeprefix("label_free/")} {value:.3f}'
                          for name, value in scalars.items()), f'{len(self._images)} images')
