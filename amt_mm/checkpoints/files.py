"""Checkpoint files: read weights of any origin without running code from the file; write them."""

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

from amt_mm.errors import InputError

from .config_text import read_config_text
from .distillation import by_network, networks_in
from .pickles import read_pickle
from .seal import seal

ENDINGS = ('.pth', '.pt', '.safetensors')
# Where releases keep the weights beside an optimiser: OpenMMLab and timm, MAE and SimMIM,
# DeepSpeed.
WRAPPERS = ('state_dict', 'model', 'module')
# What wraps a model in training begins the names of its entries.
PREFIX = re.compile(r'^(?:module\.|_orig_mod\.)+')


class Checkpoint(NamedTuple):
    """The weights in a file.

    Attributes:
        state: Name -> tensor, on the CPU, without the prefixes of wrappers of training.
        grid: Rows and columns of patches that it was trained on, where the file says so.
        config: The config that MMEngine kept, as far as it is literals; empty elsewhere.
    """

    state: dict[str, Tensor]
    grid: tuple[int, int] | None
    config: dict[str, Any]


def read_checkpoint(path: str | os.PathLike) -> Checkpoint:
    """Read the weights of a checkpoint; no code from the file is run.

    Args:
        path: ``.safetensors``, or what ``torch.save`` wrote: a plain state dict, or
            one under ``state_dict``, ``model`` or ``module``, or those of DINO, iBOT and
            AttMask under ``student`` and ``teacher``.

    Returns:
        The weights under the names of the file; a leading ``module.`` (distributed
        training) or ``_orig_mod.`` (compilation) is taken off. Those of student,
        teacher and their loss have the name of their part in front.

    Raises:
        InputError: No such file, cut short, no checkpoint, or one that needs
            classes beyond the usual bookkeeping: they are named (and
            :func:`trust_checkpoints` was not called).
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f'{path}: no such checkpoint')
    config: dict[str, Any] = {}
    if path.suffix == '.safetensors':
        content, grid = _read_safetensors(path)
    else:
        content = read_pickle(path, path)
        meta = content.get('meta') if isinstance(content, Mapping) else None
        meta = meta if isinstance(meta, Mapping) else {}
        config = read_config_text(meta.get('cfg'))
        grid = _whole(meta.get('grid')) or _trained_grid(config)
    if isinstance(content, Mapping) and (parts := networks_in(content)):
        content = {f'{name}.{PREFIX.sub("", key)}': value for name, part in parts.items()
                   for key, value in part.items() if isinstance(key, str)}
    for key in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    tensors = content.items() if isinstance(content, Mapping) else ()
    state = {PREFIX.sub('', key): value for key, value in tensors
             if isinstance(key, str) and isinstance(value, Tensor)}
    if not state:
        raise InputError(f'{path}: no weights in it, neither a state dict nor one under '
                         f'{", ".join(WRAPPERS)}; save model.state_dict()')
    return Checkpoint(state, grid, config)


def write_checkpoint(path: str | os.PathLike, state: Mapping[str, Tensor],
                     grid: tuple[int, int] | None = None, under: str | None = 'state_dict'
                     ) -> None:
    """Write weights, so that a failure leaves what was there before.

    Args:
        path: Its ending says the format: ``.safetensors`` (a plain state dict),
            ``.pth`` or ``.pt`` (torch).
        state: Name -> tensor.
        grid: Rows and columns of patches, kept for whoever resizes positions.
        under: Key of the weights in a torch file; None keeps student, teacher and loss
            apart, as DINO, iBOT and AttMask do.

    Raises:
        InputError: Another ending, or no such folder.
    """
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise InputError(f'{path}: the ending says the format, one of {", ".join(ENDINGS)}')
    if not path.parent.is_dir():
        raise InputError(f'{path}: there is no folder {path.parent}')
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        if path.suffix == '.safetensors':
            own = {'grid': f'{grid[0]}x{grid[1]}'} if grid else {}
            # The format wants every tensor in memory of its own.
            # Its own way to a file leaves that readable by its owner alone.
            temporary.write_bytes(save({k: v.clone().contiguous() for k, v in state.items()},
                                       metadata={'format': 'pt', **own}))
        else:
            content = by_network(state) if under is None else {under: dict(state)}
            torch.save({**content, 'meta': {'grid': grid} if grid else {}}, temporary)
            seal(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], tuple[int, int] | None]:
    try:
        with safe_open(path, framework='pt') as file:
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            grid = (file.metadata() or {}).get('grid', '')
    except (SafetensorError, OSError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise InputError(f'{path}: not a checkpoint, or cut short in copying '
                         f'({path.stat().st_size} bytes; {reason[:120]})') from error
    sizes = re.fullmatch(r'(\d+)x(\d+)', grid)
    return state, (int(sizes[1]), int(sizes[2])) if sizes else None


def _trained_grid(config: Mapping[str, Any]) -> tuple[int, int] | None:
    """Grid of patches by the config that MMEngine keeps."""
    backbone: Any = config
    for part in ('model', 'backbone'):
        backbone = backbone.get(part) if isinstance(backbone, Mapping) else None
    if not isinstance(backbone, Mapping):
        return None
    size, patch = (_whole(backbone.get(name)) for name in ('img_size', 'patch_size'))
    if size is None or patch is None:
        return None
    return size[0] // patch[0], size[1] // patch[1]


def _whole(value: object) -> tuple[int, int] | None:
    """Height and width: one number for both, or a pair."""
    pair = (value, value) if isinstance(value, int) else value
    if isinstance(pair, (tuple, list)) and len(pair) == 2 and all(
            isinstance(number, int) and number > 0 for number in pair):
        return tuple(pair)
    return None
