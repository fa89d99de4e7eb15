"""Cost of a run and the share of its saliency refreshes, in multiply-adds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod

import torch
from mmengine.config import Config
from mmpretrain.registry import MODELS
from torch import nn

from amt_mm.config_parts import class_name
from amt_mm.errors import InputError
from amt_mm.guidance import MapHook, MapsFromEncoderHook, SaliencyUpdateHook
from amt_mm.registry import HOOKS, TASK_UTILS
from amt_mm.saliency import SaliencySource
from lab.cost.hook_class import hook_class

from .cost import CostUnknown, cost
from .multiply_adds import multiply_adds


@dataclass(frozen=True)
class RunCost:
    """Multiply-adds of a run per image of the data set.

    Attributes:
        warm_up_crops: Crops of an image before guidance.
        guided_crops: Crops of an image after that.
        refreshes: Times that an image is processed whole; an average if refreshes renew a part.
        warm_up: Multiply-adds of the forward pass of one crop before guidance.
        guided: The same in the guided phase; at its end, if ratios change.
        refresh: The same of one whole image, as far as its map needs; 0 without refreshes. The
            short pass that finds means for ``debias`` and ``source='feature'`` is not counted, as
            its share depends on the size of the data set.
    """

    warm_up_crops: int
    guided_crops: int
    refreshes: float
    warm_up: int
    guided: int
    refresh: int

    @property
    def share(self) -> float:
        """Share of the refreshes in the run's multiply-adds; a step counts three forward passes."""
        return self.share_of(self.refresh, 3 * self.warm_up, 3 * self.guided)

    @property
    def total(self) -> float:
        """Multiply-adds of the run for each image of the data set."""
        return (3 * (self.warm_up_crops * self.warm_up + self.guided_crops * self.guided)
                + self.refreshes * self.refresh)

    @property
    def step(self) -> int:
        """Multiply-adds of a training step per crop, of the guided phase if there is one."""
        return 3 * (self.guided if self.guided_crops else self.warm_up)

    def share_of(self, refresh: float, warm_up: float, guided: float) -> float:
        """The same share from other costs of an image, such as seconds.

        Args:
            refresh: Of one whole image.
            warm_up: Of a training step before guidance, per crop.
            guided: Of a training step in the guided phase, per crop.
        """
        whole = self.refreshes * refresh
        steps = self.warm_up_crops * warm_up + self.guided_crops * guided
        return whole / (whole + steps)


def refresh_hook(cfg: Config, **changes) -> SaliencyUpdateHook | None:
    """Build the refresh hook of a resolved config.

    Args:
        cfg: Config after its overlay.
        **changes: Options of the hook that replace the config's.

    Returns:
        The hook, or one of a class derived from it; None if the config has none.
    """
    return _hook(cfg, SaliencyUpdateHook, changes)


def _hook(cfg: Config, kind: type[MapHook], changes: Mapping) -> MapHook | None:
    hooks = (*(cfg.get('custom_hooks') or ()), *(cfg.get('default_hooks') or {}).values())
    for hook in hooks:
        found = hook_class(hook.get('type')) if isinstance(hook, Mapping) else None
        if found and issubclass(found, kind):
            return HOOKS.build({**hook, **changes})
    return None


def run_cost(cfg: Config, **changes) -> RunCost:
    """Cost of a guided run, refreshes and steps, computed on the meta device.

    Args:
        cfg: Config after its overlay, with a ``SaliencyUpdateHook``.
        **changes: Options of the hook that replace the config's.

    Raises:
        InputError: No such hook, or a run by iterations: how often it sees an image depends on
            the data set.
    """
    if refresh_hook(cfg, **changes) is None:
        raise InputError('the config refreshes no saliency: it has no SaliencyUpdateHook')
    return training_cost(cfg, **changes)


def training_cost(cfg: Config, **changes) -> RunCost:
    """Cost of any run by epochs, guided by any :class:`~amt_mm.guidance.MapHook`, or unguided.

    Args:
        cfg: Config after its overlay.
        **changes: Options of the ``SaliencyUpdateHook`` that replace the config's.

    Raises:
        CostUnknown: A model of unknown cost, or masks that follow the maps of no such hook.
        InputError: A run by iterations.
    """
    hook, refresh = refresh_hook(cfg, **changes), 0
    if hook is not None:
        with torch.device('meta'):
            model = MODELS.build({**cfg.model, 'data_preprocessor': cfg.data_preprocessor})
        if isinstance(hook, MapsFromEncoderHook):
            hook.load(model)
        vit = hook.settings.encoder(model).to('meta')
        refresh = counted_refresh(vit, hook.settings.grid(vit), hook.settings.source)
    steps = RunCost(0, 0, 0, cost(cfg, guided=False).counted, cost(cfg).counted, refresh)
    return with_schedule(steps, cfg, **changes)


def with_schedule(steps: RunCost, cfg: Config, **changes) -> RunCost:
    """Combine known costs of a step and a refresh with the schedule of a config.

    Args:
        steps: From :func:`training_cost`, of a config that differs in nothing else.
        cfg: Config after its overlay.
        **changes: Options of the ``SaliencyUpdateHook`` that replace the config's.

    Raises:
        CostUnknown: Masks that follow the maps of no :class:`~amt_mm.guidance.MapHook`.
        InputError: A run by iterations.
    """
    hook = refresh_hook(cfg, **changes)
    guide = hook or _hook(cfg, MapHook, {})
    generator = (cfg.get('data_preprocessor') or {}).get('mask_generator')
    if guide is None and generator and TASK_UTILS.build(generator).needs_weights:
        raise CostUnknown(f'{generator["type"]} needs maps, and no hook derived from '
                          'amt_mm.guidance.MapHook makes any: from when on masks are guided is '
                          'not known')
    epochs = cfg.train_cfg.get('max_epochs')
    if epochs is None or not (guide is None or guide.by_epoch):
        raise InputError('the share of the refreshes is counted for runs by epochs '
                         '(train_cfg.max_epochs, and by_epoch=True of the hook that provides maps)')
    crops = crops_an_epoch(cfg.train_dataloader.dataset)
    before = epochs if guide is None else min(guide.begin, epochs)
    # Of as many samples as there are parts, each refresh renews all or one.
    looked_at = 0 if hook is None else sum(
        len(hook.rows(epoch, hook.parts)) for epoch in range(epochs) if hook.is_due(epoch))
    return replace(steps, warm_up_crops=before * crops, guided_crops=(epochs - before) * crops,
                   refreshes=looked_at / hook.parts if hook else 0)


def crops_an_epoch(dataset: Mapping) -> int:
    """Crops of each image in an epoch, according to the config of a training set.

    Raises:
        InputError: Concatenated data sets that are repeated differently.
    """
    children = {crops_an_epoch(child) for child in (*dataset.get('datasets', ()),
                                                    dataset.get('dataset')) if child}
    if len(children) > 1:
        raise InputError('the training set joins data sets that are repeated a different number '
                         'of times: the share of the refreshes depends on their sizes')
    repeats = prod(transform.get('repeats', 2) for transform in dataset.get('pipeline', ())
                   if class_name(transform) == 'RepeatedCrops')
    return repeats * dataset.get('times', 1) * (children.pop() if children else 1)


def counted_refresh(backbone: nn.Module, grid: tuple[int, int],
                    source: SaliencySource | None = None) -> int:
    """Multiply-adds of the matrix products that torch runs for one whole image.

    Args:
        backbone: Encoder on the meta device.
        grid: Rows and columns of the whole image's patches.
        source: Source of the map. Defaults to None: the paper's, the last block's [CLS] row.
    """
    size = [side * backbone.patch_size for side in grid]
    images, source = torch.zeros(1, 3, *size, device='meta'), source or SaliencySource()
    # A module's text has the shapes of all its matrices; what heads divide costs the same.
    return multiply_adds(lambda: source.extract(backbone, images), (str(backbone), grid, source))
