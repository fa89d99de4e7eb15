"""What one step of training was given, kept as plain data, so that a tool can repeat it."""

from __future__ import annotations

import pickle
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmpretrain.structures import DataSample
from torch import Tensor

from amt_mm.checkpoints.safe_save import atomic_file
from amt_mm.checkpoints.seal import check_seal, seal
from amt_mm.errors import InputError
from amt_mm.masking import MaskPlan

FORMAT = 'amt_mm step 2'
_SAMPLE = '__DataSample__'
# Of a sample's fields, those that a person knows it by.
_NAMES = ('sample_idx', 'img_id', 'img_path', 'crop_box', 'flip', 'flip_direction')


@dataclass
class GivenBatch:
    """One batch, as a forward pass of training met it.

    Attributes:
        data: The batch as the loader gave it.
        divisor: By what the loss was divided: the batches that share a step.
        random: State of the random streams before the data preprocessor.
        forward_random: The same before the model's forward; None until it runs.
        plan: Its mask plan, None where there is none.
        losses: What the model said, by name; a loss of several parts has several entries.
    """

    data: Any
    divisor: int
    random: dict
    forward_random: dict | None = None
    plan: MaskPlan | None = None
    losses: dict[str, Tensor] = field(default_factory=dict)


def random_state() -> dict:
    """State of Python's, numpy's and torch's streams, as tensors and plain values."""
    kind, keys, position, has_gauss, gauss = np.random.get_state()
    state = {'python': random.getstate(), 'torch': torch.get_rng_state(),
             'numpy': (kind, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, gauss)}
    if torch.cuda.is_available():
        state['cuda'] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Mapping) -> None:
    """Set the streams as :func:`random_state` found them; a GPU's only where there is one."""
    random.setstate(state['python'])
    kind, keys, *rest = state['numpy']
    np.random.set_state((kind, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(state['torch'])
    if 'cuda' in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'])


def write_step(path: Path, batches: Sequence[GivenBatch], state_dict: Mapping[str, Tensor],
               buffers: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Write a step to a file of tensors and plain values, whole or not at all.

    Args:
        path: The file to make; folders are made as needed.
        batches: The batches of the step, in order.
        state_dict: The model's weights that they met.
        buffers: All its buffers, since ``state_dict`` lacks those that are not persistent.
        about: What else to keep: numbers and texts by name.

    Raises:
        InputError: The disk is full, or the folder cannot be written.
    """
    content = {
        **about, 'format': FORMAT,
        'samples': [_to_plain(samples_of(batch.data)) for batch in batches],
        'state_dict': _on_cpu(state_dict), 'buffers': _on_cpu(buffers),
        'batches': [{
            'data': _to_plain(batch.data), 'divisor': batch.divisor, 'random': batch.random,
            'forward_random': batch.forward_random, 'losses': _to_plain(batch.losses),
            'plan': batch.plan and _to_plain(vars(batch.plan))} for batch in batches]}
    with atomic_file(path) as temporary:
        torch.save(content, temporary)
        seal(temporary)


def read_step(path: Path) -> dict[str, Any]:
    """Read a file of :func:`write_step`; no code of the file is run.

    Returns:
        What was written, ``batches`` as :class:`GivenBatch`; ``samples`` names the samples
        of each.

    Raises:
        InputError: No such file, another kind of file, or samples that are not kept
            in such files (those of detection).
    """
    if not path.is_file():
        raise InputError(f'{path}: no such file')
    check_seal(path)
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    # Torch has no class of its own for a file that is cut short or of another kind.
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError,
            AttributeError, TypeError) as error:
        raise InputError(f'{path}: truncated, or not a step that amt_mm.NanGuardHook wrote'
                         ) from error
    if not isinstance(content, dict) or content.get('format') != FORMAT:
        raise InputError(f'{path}: not a step that amt_mm.NanGuardHook of this version wrote')
    try:
        content['batches'] = [GivenBatch(**{
            **batch, 'data': _from_plain(batch['data']),
            'plan': batch['plan'] and MaskPlan(**batch['plan'])}) for batch in content['batches']]
    except InputError as error:
        raise InputError(f'{path}: {error}') from error
    return content


def samples_of(data: Any) -> list[dict[str, Any]]:
    """How a person knows the samples of a batch: index, file, crop and flip, where recorded."""
    samples = data.get('data_samples') if isinstance(data, Mapping) else None
    if not isinstance(samples, Sequence):
        return []
    return [{name: getattr(sample, name) for name in _NAMES if hasattr(sample, name)}
            for sample in samples]


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu() for name, tensor in tensors.items()}


def _to_plain(value: Any) -> Any:
    """Tensors, numbers, texts and collections of them; of anything else only its class's name."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Tensor):
        # Else a view would take all that it is a view of into the file.
        return value.detach().cpu().clone()
    if isinstance(value, np.ndarray) and value.dtype.kind in 'biuf':
        return torch.from_numpy(value.copy())
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, DataSample):
        return {_SAMPLE: {'meta': _to_plain(dict(value.metainfo_items())),
                          'fields': _to_plain(dict(value.items()))}}
    if isinstance(value, Mapping):
        return {str(key): _to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_to_plain, value)) if type(value) in (list, tuple) else [
            _to_plain(item) for item in value]
    return {'__left_out__': type(value).__name__}


def _from_plain(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {_SAMPLE}:
        sample = DataSample(metainfo=_from_plain(value[_SAMPLE]['meta']))
        for name, item in value[_SAMPLE]['fields'].items():
            sample.set_field(_from_plain(item), name)
        return sample
    if isinstance(value, dict) and '__left_out__' in value:
        raise InputError(f'the batch holds {value["__left_out__"]}, which files of a step do not '
                         'contain: this step cannot be repeated')
    if isinstance(value, dict):
        return {key: _from_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_from_plain, value))
    return value
