"""Repeat a training step that amt_mm.NanGuardHook has written, and find the cause."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from inspect import isclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper
from mmengine.registry import (
    MODELS,
    OPTIM_WRAPPERS,
    TASK_UTILS,
    WEIGHT_INITIALIZERS,
    Registry,
    init_default_scope,
)
from torch import Tensor, nn

from amt_mm.errors import InputError
from amt_mm.models import AMTDataPreprocessor, Host
from amt_mm.random_streams import set_random_state

from .step_record import GivenBatch, losses_of, samples_of

# `type` of a config from a file: a registered name, with or without its scope.
_TYPE = re.compile(r'(?:(?:amt_mm|mmpretrain|mmengine)\.)?(\w+)')
# Models of other libraries, by a name that may lead to code: trust_remote_code of transformers.
_FOREIGN = {'HuggingFaceClassifier', 'TimmClassifier', 'TIMMBackbone'}
# Settings of the precision of the forward pass.
_PRECISION = ('type', 'dtype')


@dataclass
class Replay:
    """Results of a repeated step.

    Attributes:
        weights: Names of parameters and buffers that were not finite before the step.
        losses: Each loss, as recorded in training and as repeated, by name and for each batch.
        samples: Index, file and, of host methods, loss of each sample, batch by batch.
        where: Where a value that is not finite first left a module, or None: its
            ``batch``, ``module``, ``kind``, whether it ``entered`` that module already, and
            the ``rows`` of the batch it is in, where that can be told.
        gradients: Name -> largest absolute value, of all parameters with a gradient.
    """

    weights: list[str]
    losses: list[dict[str, tuple[float, float]]] = field(default_factory=list)
    samples: list[list[dict[str, Any]]] = field(default_factory=list)
    where: dict[str, Any] | None = None
    gradients: dict[str, float] = field(default_factory=dict)

    @property
    def equal(self) -> bool:
        """Whether all losses equal those recorded in training bit for bit; NaN equals NaN."""
        return all(was == now or (math.isnan(was) and math.isnan(now))
                   for batch in self.losses for was, now in batch.values())


def check_types(cfg: Mapping, path: str) -> None:
    """Refuse a config from a file if one of its types is not a registered class.

    MMEngine would import and call whatever else a type names. Functions are registered for models
    of transformers.

    Raises:
        InputError: Names the type.
    """
    known = {name for root in (MODELS, TASK_UTILS, OPTIM_WRAPPERS, WEIGHT_INITIALIZERS)
             for name in _registered(root)} - _FOREIGN
    for kind in _types(cfg):
        match = _TYPE.fullmatch(kind) if isinstance(kind, str) else None
        if match is None or match[1] not in known:
            raise InputError(f'{path}: its config has the type {kind!r}, which is not a registered '
                             'class of a model: give a config that you trust with --config')


def _registered(registry: Registry) -> Iterator[str]:
    yield from (name for name, kind in registry.module_dict.items() if isclass(kind))
    for child in registry.children.values():
        yield from _registered(child)


def _types(value: object) -> Iterator[object]:
    """Every ``type`` in a config, and dotted names such as that of a ``conv_type``."""
    if isinstance(value, Mapping):
        for key, kind in value.items():
            if key == 'type' or str(key).endswith('type') and '.' in str(kind):
                yield kind
        value = value.values()
    if not isinstance(value, str) and isinstance(value, Iterable):
        for child in value:
            yield from _types(child)


def replay_step(content: Mapping[str, Any], cfg: Config, device: str = 'cpu') -> Replay:
    """Repeat forward and backward of every batch of a step, with its weights and random states.

    Args:
        content: Of :func:`~amt_mm.reliability.step_record.read_step`.
        cfg: Config of the run, overlays applied.
        device: Where to compute.

    Returns:
        Losses, samples, gradients and the first module with a value that is not finite.

    Raises:
        InputError: The weights do not fit the config's model.
    """
    init_default_scope(cfg.get('default_scope') or 'mmengine')
    model_cfg = dict(cfg.model)
    if cfg.get('data_preprocessor'):
        model_cfg.setdefault('data_preprocessor', cfg.data_preprocessor)
    model = MODELS.build(model_cfg)
    _load(model, content)
    model.to(device).train()
    wrapper = OPTIM_WRAPPERS.build({
        'type': 'OptimWrapper',
        **{key: cfg.optim_wrapper[key] for key in _PRECISION if key in cfg.optim_wrapper},
        'optimizer': torch.optim.SGD(model.parameters(), lr=0.0)})
    replay = Replay(_non_finite_names(model))
    watch = _Watch(model)
    for number, batch in enumerate(content['batches']):
        watch.batch, watch.size = number, len(samples_of(batch.data))
        losses = _forward(model, wrapper, batch)
        replay.losses.append({name: (float(batch.losses[name].mean()), float(now.mean()))
                              for name, now in losses_of(losses).items() if name in batch.losses})
        loss, _ = model.parse_losses(losses)
        (loss / batch.divisor * content['loss_scale']).backward()
    replay.where = watch.found
    watch.remove()
    replay.samples = [_samples(model, wrapper, batch) for batch in content['batches']]
    replay.gradients = {
        name: float(parameter.grad.abs().max()) / content['loss_scale']
        for name, parameter in model.named_parameters() if parameter.grad is not None}
    return replay


def _load(model: nn.Module, content: Mapping[str, Any]) -> None:
    """Load weights, and buffers that are not part of them (such as iBOT's temperature)."""
    try:
        model.load_state_dict(content['state_dict'])
        for name, buffer in model.named_buffers():
            buffer.copy_(content['buffers'][name])
    except (RuntimeError, KeyError) as error:
        # torch prints a heading first.
        raise InputError('the weights in the file do not fit the model of the config: '
                         f'{str(error).splitlines()[-1].strip()}') from error


def _forward(model: nn.Module, wrapper: OptimWrapper, batch: GivenBatch) -> dict[str, Any]:
    """Losses of a batch, with the random states and the plan of training."""
    preprocessor = model.data_preprocessor
    with wrapper.optim_context(model):
        set_random_state(batch.random)
        if batch.plan is not None and isinstance(preprocessor, AMTDataPreprocessor):
            # The plan itself is recorded, since the maps it was drawn from may be gone.
            data = {'inputs': preprocessor.normalize(batch.data['inputs']),
                    'data_samples': batch.data['data_samples'],
                    'plan': batch.plan.to(preprocessor.device)}
        else:
            data = preprocessor(batch.data, True)
        if batch.forward_random is not None:
            set_random_state(batch.forward_random)
        return model._run_forward(data, mode='loss')


@torch.no_grad()
def _samples(model: nn.Module, wrapper: OptimWrapper, batch: GivenBatch) -> list[dict[str, Any]]:
    """Identify each sample, with its ``loss`` if the model is a host, else None."""
    samples = samples_of(batch.data)
    if not isinstance(model, Host):
        return [{**sample, 'loss': None} for sample in samples]
    model.report_token_losses = True
    per_token = _forward(model, wrapper, batch)['per_token']
    return [{**sample, 'loss': float(losses.mean())}
            for sample, losses in zip(samples, per_token, strict=True)]


def _non_finite_names(model: nn.Module) -> list[str]:
    return [name for name, value in model.state_dict().items()
            if value.is_floating_point() and not value.isfinite().all()]


class _Watch:
    """Record the first module of a model whose output is not finite."""

    def __init__(self, model: nn.Module) -> None:
        self.found: dict[str, Any] | None = None
        self.batch = self.size = 0
        self._handles = [
            module.register_forward_hook(partial(self._look, name))
            for name, module in model.named_modules()
            if name and not name.startswith('data_preprocessor')]

    def remove(self) -> None:
        """Remove the hooks."""
        for handle in self._handles:
            handle.remove()

    def _look(self, name: str, module: nn.Module, args: tuple, output: object) -> None:
        bad = [tensor for tensor in _tensors(output) if not tensor.isfinite().all()]
        if self.found or not bad:
            return
        rows = [int(row) for row in (~bad[0].flatten(1).isfinite().all(dim=1)).nonzero()] if (
            bad[0].ndim > 1 and len(bad[0]) == self.size) else []
        self.found = {
            'batch': self.batch, 'module': name, 'kind': type(module).__name__, 'rows': rows,
            'entered': any(not tensor.isfinite().all() for tensor in _tensors(args))}


def _tensors(value: object) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value] if value.is_floating_point() else []
    children = value.values() if isinstance(value, Mapping) else value
    return [tensor for child in children for tensor in _tensors(child)] if isinstance(
        value, (Mapping, list, tuple)) else []
