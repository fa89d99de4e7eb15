"""Scale a schedule to another number of epochs."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, MutableMapping
from copy import deepcopy

from mmengine.config import Config
from mmengine.hooks import CheckpointHook, LoggerHook

from amt_mm.config.default_hooks import DEFAULT_HOOKS
from amt_mm.config_parts import class_name
from amt_mm.errors import InputError
from amt_mm.scheduled_hook import ScheduledHook
from lab.cost.hook_class import hook_class

# Schedulers that are scaled by begin, end and T_max alone.
_STAGES = tuple(shape + kind for shape in ('Constant', 'Linear', 'CosineAnnealing', 'Poly')
                for kind in ('LR', 'Momentum', 'ParamScheduler'))
# Settings of hooks, and of those derived from them, in epochs; the logger counts iterations.
_HOOKS = {ScheduledHook: ('begin', 'interval', 'end'), CheckpointHook: ('interval',),
          LoggerHook: ()}
# A hook that is not listed must have none of these.
_CALENDAR = ('begin', 'end', 'interval', 'epochs', 'milestones')


def scaled_schedule(cfg: Config, epochs: int) -> Config:
    """Scale a config's schedule to a number of epochs.

    Learning rate stages, refreshes of maps, guidance by losses and checkpoints keep their share of
    training, rounded to whole epochs but at least one if they had one.

    Args:
        cfg: Config after its overlay, with ``train_cfg.max_epochs``.
        epochs: The new number.

    Returns:
        A new config.

    Raises:
        InputError: A scheduler or hook whose schedule is unknown, or too few epochs for the
            stages.
    """
    cfg, old = deepcopy(cfg), cfg.train_cfg.max_epochs

    def scale(value: float) -> float:
        if math.isinf(value):
            return value
        return max(min(1, value), math.floor(value * epochs / old + 0.5))

    stages = cfg.get('param_scheduler') or []
    for stage in [stages] if isinstance(stages, MutableMapping) else stages:
        _scale_stage(stage, scale, epochs)
    named = (cfg.get('default_hooks') or {}).items()
    for name, hook in (*named, *((None, hook) for hook in cfg.get('custom_hooks') or ())):
        if isinstance(hook, MutableMapping):
            _scale_hook(hook, {**DEFAULT_HOOKS.get(name, {}), **hook}.get('type', name), scale)
    cfg.train_cfg.max_epochs = epochs
    return cfg


def _scale_stage(stage: MutableMapping, scale: Callable, epochs: int) -> None:
    name = class_name(stage)
    if name not in _STAGES:
        raise InputError(f'the schedule cannot be scaled to {epochs} epochs: what of {name} counts '
                         'epochs is not known; it is of constant, linear, cosine and polynomial '
                         'stages')
    begin, end = stage.get('begin', 0), stage.get('end', math.inf)
    fills = stage.get('T_max') == end - begin
    for key in ('begin', 'end', 'T_max'):
        if stage.get(key) is not None:
            stage[key] = scale(stage[key])
    if scale(end) <= scale(begin):
        raise InputError(f'{epochs} epochs are too few for the stages of the learning rate: '
                         f'nothing is left of {name}')
    if fills:
        # Rounded separately, it could miss the end of its stage by an epoch.
        stage['T_max'] = scale(end) - scale(begin)


def _scale_hook(hook: MutableMapping, kind: str | type, scale: Callable) -> None:
    found = hook_class(kind)
    fields = next((fields for base, fields in _HOOKS.items()
                   if found and issubclass(found, base)), None)
    if fields is None:
        unknown = next((key for key in _CALENDAR if key in hook), None)
        if unknown is not None:
            raise InputError(f'the schedule cannot be scaled: whether {unknown}='
                             f'{hook[unknown]!r} of {kind} counts epochs is not known')
        return
    for key in fields:
        # Defaults count epochs, too.
        value = hook.get(key, _default(found, key))
        # CheckpointHook's -1 means never.
        if value is not None and value >= 0:
            hook[key] = scale(value)


def _default(kind: type, key: str) -> int | None:
    """Default of an argument, which a derived class may pass on; None if there is none."""
    for cls in kind.__mro__:
        parameters = inspect.signature(cls.__init__).parameters if '__init__' in vars(cls) else {}
        if key in parameters:
            return parameters[key].default
        if parameters and all(each.kind != each.VAR_KEYWORD for each in parameters.values()):
            return None
    return None
