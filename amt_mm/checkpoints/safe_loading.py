"""MMEngine's loading of checkpoints, without the code that a file may carry.

MMEngine reads a file by torch's ``weights_only``, and where that refuses, without: so every
file runs what it likes. It also lets ``getattr`` of anything through, which is a way to any
function, reads downloads without ``weights_only``, and on resume runs the text that lies
under ``meta.config``. All of its ways of loading (``--resume``, ``load_from``,
``init_cfg``) come by two functions of its module, which are replaced here, for the whole
process, when :mod:`amt_mm.engine` is imported.
"""

from __future__ import annotations

import io
import os
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlparse

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from mmengine.runner import checkpoint as mmengine_checkpoint
from numpy._core.multiarray import _reconstruct, scalar

from amt_mm.checkpoints import checkpoints_are_trusted, read_pickle

_STATISTICS = ('min', 'max', 'mean', 'current')


def _statistic(owner: object, name: str) -> Callable:
    """What MMEngine's curves need of ``getattr``: their four functions."""
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise pickle.UnpicklingError(f'Unsupported global: GLOBAL getattr of {name}')
    return getattr(HistoryBuffer, name)


# What MMEngine's own checkpoints hold beside tensors: curves, and numpy's arrays and numbers.
# Arrays of numpy 1 say `core`, those of numpy 2 `_core`.
_NEEDED = [
    (HistoryBuffer, 'mmengine.logging.history_buffer.HistoryBuffer'),
    (_statistic, 'builtins.getattr'), (slice, 'builtins.slice'), (np.ndarray, 'numpy.ndarray'),
    (np.dtype, 'numpy.dtype'),
    *((function, f'numpy.{core}.multiarray.{function.__name__}')
      for function in (_reconstruct, scalar) for core in ('core', '_core')),
    # Never named in a file, but asked for when a dtype's state is set.
    *((type(np.dtype(code)), f'numpy.dtypes.{type(np.dtype(code)).__name__}')
      for code in '?bhilqBHILQefdUS'),
]


def load_as_data(file: str | os.PathLike | io.BytesIO,
                 map_location: str | Callable | None = None, mmap: bool = False) -> object:
    """Load a checkpoint of MMEngine, whole, without running code from it.

    Args:
        file: Its path or its bytes.
        map_location: See :func:`torch.load`.
        mmap: Leave values of tensors on the disk until they are looked at.

    Returns:
        What was saved. A config text that MMEngine would run on resume
        (``meta.config``, of toolboxes of the generation before) is left out.

    Raises:
        InputError: It cannot be read, or needs further classes and nobody said that it may
            be trusted, see :func:`amt_mm.checkpoints.read_pickle`.
    """
    name = 'checkpoint' if isinstance(file, io.BytesIO) else file
    content = read_pickle(file if isinstance(file, io.BytesIO) else Path(file), name, _NEEDED,
                          map_location, mmap)
    meta = content.get('meta') if isinstance(content, Mapping) else None
    if isinstance(meta, dict) and 'config' in meta and not checkpoints_are_trusted():
        del meta['config']
        print_log(f'{name}: the config in it, which would be run, is left out', logger='current')
    return content


def _load(file: str | io.BytesIO, map_location: str | Callable | None = None,
          weights_only: bool | None = None) -> object:
    return load_as_data(file, map_location)


def _load_url(url: str, model_dir: str | None = None,
              map_location: str | Callable | None = None, progress: bool = True) -> object:
    """Fetch a checkpoint into torch's cache, where it stays, and load it."""
    folder = Path(model_dir or os.path.join(torch.hub.get_dir(), 'checkpoints'))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / os.path.basename(urlparse(url).path)
    if not path.exists():
        torch.hub.download_url_to_file(url, str(path), None, progress=progress)
    return load_as_data(path, map_location)


def load_safely() -> None:
    """Replace MMEngine's two functions.

    Raises:
        RuntimeError: This release of MMEngine loads in another way.
    """
    for name, ours in (('_safe_torch_load', _load), ('load_url', _load_url)):
        if not hasattr(mmengine_checkpoint, name):
            raise RuntimeError(f'this release of onedl-mmengine has no '
                               f'mmengine.runner.checkpoint.{name}, by which checkpoints are '
                               'loaded safely: install one of requirements/mminstall.txt')
        setattr(mmengine_checkpoint, name, ours)
