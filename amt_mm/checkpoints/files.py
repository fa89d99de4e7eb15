"""Read weights of any origin without running code from the file; write them."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from amt_mm.config_parts import section
from amt_mm.errors import InputError

from .config_text import read_config_text
from .distillation import by_network, networks_in
from .pickles import read_pickle, unreadable
from .safe_save import atomic_file
from .seal import seal

ENDINGS = ('.pth', '.pt', '.safetensors')
# Keys of the weights in files with an optimiser: OpenMMLab and timm, MAE and SimMIM, DeepSpeed.
WRAPPERS = ('state_dict', 'model', 'module')
# Keys of the averaged weights that timm, DeiT and ConvNeXt store in addition to those of WRAPPERS.
AVERAGED = ('state_dict_ema', 'model_ema')
# What StartAverageHook stores beside the averaged encoder: `start` and `trained`, a dict each.
START_AVERAGE = 'amt_start_average'
# Prefixes of training wrappers: of torch, and of lightly-train.
PREFIX = re.compile(r'^(?:module\.|_orig_mod\.|wrapped_model\.|_model\.)+')
# A vision transformer of 7 billion parameters has under a thousand; each takes up to 0.3 ms to be
# read and renamed.
_MOST_TENSORS = 20_000


class Checkpoint(NamedTuple):
    """The weights in a file.

    Attributes:
        state: Name -> tensor on the CPU, without prefixes of training wrappers.
        grid: Rows and columns of patches in training, if the file tells.
        config: Literals of the config that MMEngine stored; empty elsewhere.
        notes: Remarks on the choice of the weights, one sentence each.
    """

    state: dict[str, Tensor]
    grid: tuple[int, int] | None
    config: dict[str, Any]
    notes: tuple[str, ...] = ()


def read_checkpoint(path: str | os.PathLike, encoder: str | None = None) -> Checkpoint:
    """Read the weights of a checkpoint without running code from it.

    Of trained and averaged weights, the average is taken: that of timm, which evaluates it, and
    that of :class:`~amt_mm.hooks.StartAverageHook`.

    Args:
        path: A ``.safetensors`` file, or one of ``torch.save``: a state dict, plain or under
            ``state_dict``, ``model`` or ``module``, or those of DINO, iBOT and AttMask under
            ``student`` and ``teacher``.
        encoder: ``'student'`` takes the weights themselves rather than their average. Defaults
            to None.

    Returns:
        The weights under the names in the file, without a leading ``module.`` (distributed
        training) or ``_orig_mod.`` (compilation). Student, teacher and loss are prefixed by the
        name of their part.

    Raises:
        InputError: The file does not exist, is truncated, is not a checkpoint, or needs classes
            beyond the usual bookkeeping (unless :func:`trust_checkpoints` was called); or has a
            tensor that is sparse, quantised, or larger than its values in the file, or more
            tensors than any encoder.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f'{path}: no such checkpoint')
    config: dict[str, Any] = {}
    if path.suffix == '.safetensors':
        content, grid = _read_safetensors(path)
    else:
        content = section(read_pickle(path, path))
        meta = section(content.get('meta'))
        config = read_config_text(meta.get('cfg'))
        grid = _whole(meta.get('grid')) or _trained_grid(config)
    if parts := networks_in(content):
        content = {f'{name}.{PREFIX.sub("", key)}': value for name, part in parts.items()
                   for key, value in part.items() if isinstance(key, str)}
    notes = ()
    average = next((key for key in AVERAGED if isinstance(content.get(key), Mapping)), None)
    if average is not None:
        notes = (f'of trained and averaged weights, the {{}} were taken ({average} is the average)'
                 .format('trained' if encoder == 'student' else 'averaged'), )
        if encoder != 'student':
            content = content[average]
    trained = section(section(content.get(START_AVERAGE)).get('trained'))
    for key in WRAPPERS:
        if isinstance(content.get(key), Mapping):
            content = content[key]
    # With a teacher, both networks are averaged, and `encoder` chooses between them.
    if trained and not any(str(key).startswith('teacher.') for key in trained):
        student = encoder == 'student'
        notes = (f'the {"trained weights" if student else "average with the start"} of an encoder '
                 'that went on from another one', )
        content = {**content, **trained} if student else content
    state = {PREFIX.sub('', key): value for key, value in content.items()
             if isinstance(key, str) and isinstance(value, Tensor)}
    if not state:
        raise InputError(f'{path}: no weights in it, neither a state dict nor one under '
                         f'{", ".join(WRAPPERS)}; save model.state_dict()')
    _refuse_many(path, len(state))
    odd = next((key for key, value in state.items() if not is_plain(value)), None)
    if odd is not None:
        raise InputError(f'{path}: `{odd}` is not a plain tensor with a value in the file for each '
                         'of its entries (sparse, quantised, expanded, or without values); save '
                         'dense, contiguous ones')
    return Checkpoint(state, grid, config, notes)


def write_checkpoint(path: str | os.PathLike, state: Mapping[str, Tensor],
                     grid: tuple[int, int] | None = None, under: str | None = 'state_dict',
                     meta: Mapping[str, Any] | None = None) -> None:
    """Write weights; after a failure the previous file is still there.

    Args:
        path: The suffix gives the format: ``.safetensors`` (a plain state dict), ``.pth`` or
            ``.pt`` (torch).
        state: Name -> tensor.
        grid: Rows and columns of patches, for resizing position embeddings.
        under: Key of the weights in a torch file; None stores student, teacher and loss
            separately, as DINO, iBOT and AttMask do.
        meta: More of ``meta`` in a torch file, literals. Defaults to None.

    Raises:
        InputError: Another suffix, the folder does not exist, or the system refuses to write.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise InputError(f'{path}: the suffix gives the format, one of {", ".join(ENDINGS)}')
    if not path.parent.is_dir():
        raise InputError(f'{path}: the folder {path.parent} does not exist')
    with atomic_file(path) as temporary:
        if path.suffix == '.safetensors':
            own = {'grid': f'{grid[0]}x{grid[1]}'} if grid else {}
            # The format does not allow shared memory; its own save_file makes private files.
            temporary.write_bytes(save({k: v.clone().contiguous() for k, v in state.items()},
                                       metadata={'format': 'pt', **own}))
        else:
            content = by_network(state) if under is None else {under: dict(state)}
            torch.save({**content, 'meta': {**(meta or {}), **({'grid': grid} if grid else {})}},
                       temporary)
            seal(temporary)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], tuple[int, int] | None]:
    try:
        with safe_open(path, framework='pt') as file:
            keys = file.keys()
            _refuse_many(path, len(keys))
            state = {key: file.get_tensor(key) for key in keys}
            grid = (file.metadata() or {}).get('grid', '')
    except (SafetensorError, OSError) as error:
        raise unreadable(path, path, error) from error
    sizes = re.fullmatch(r'(\d{1,9})x(\d{1,9})', grid)
    return state, (int(sizes[1]), int(sizes[2])) if sizes else None


def _refuse_many(path: Path, count: int) -> None:
    if count > _MOST_TENSORS:
        raise InputError(f'{path}: has {count} tensors, more than any vision transformer '
                         f'({_MOST_TENSORS} are read): give the weights of the encoder alone')


def is_plain(value: Tensor) -> bool:
    """Whether a tensor is dense, with a value in the file for each of its entries.

    A few bytes with strides of 0 can claim any shape, and what computes with that never ends.
    """
    return (value.layout == torch.strided and not value.is_meta and not value.is_quantized
            and value.numel() * value.element_size() <= value.untyped_storage().nbytes())


def _trained_grid(config: Mapping[str, Any]) -> tuple[int, int] | None:
    """Grid of patches according to a stored config."""
    backbone = section(section(config.get('model')).get('backbone'))
    size, patch = (_whole(backbone.get(name)) for name in ('img_size', 'patch_size'))
    return (size[0] // patch[0], size[1] // patch[1]) if size and patch else None


def _whole(value: object) -> tuple[int, int] | None:
    """Height and width from one number for both, or from a pair."""
    pair = (value, value) if isinstance(value, int) else value
    if isinstance(pair, (tuple, list)) and len(pair) == 2 and all(
            isinstance(number, int) and number > 0 for number in pair):
        return tuple(pair)
    return None
