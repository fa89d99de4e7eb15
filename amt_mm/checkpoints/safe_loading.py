"""Replace MMEngine's loading of checkpoints by one that runs no code from the file.

MMEngine falls back to unrestricted unpickling if torch's ``weights_only`` refuses a file, allows
``getattr`` of anything, which reaches any function, reads downloads without ``weights_only``, and
on resume runs the text in ``meta.config``. All its ways of loading (``--resume``, ``load_from``,
``init_cfg``) use two functions of one module, which are replaced for the whole process when
:mod:`amt_mm.engine` is imported.
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
from amt_mm.errors import InputError

_STATISTICS = ('min', 'max', 'mean', 'current')


def _statistic(owner: object, name: str) -> Callable:
    """The only use of ``getattr`` in MMEngine's curves: their four statistics."""
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise pickle.UnpicklingError(f'Unsupported global: GLOBAL getattr of {name}')
    return getattr(HistoryBuffer, name)


# Arrays and scalars, under `core` for numpy 1 and `_core` for numpy 2.
NUMPY = [
    (np.ndarray, 'numpy.ndarray'), (np.dtype, 'numpy.dtype'),
    *((function, f'numpy.{core}.multiarray.{function.__name__}')
      for function in (_reconstruct, scalar) for core in ('core', '_core')),
    # Not named in files, but needed to set a dtype's state.
    *((type(np.dtype(code)), f'numpy.dtypes.{type(np.dtype(code)).__name__}')
      for code in '?bhilqBHILQefdUS'),
]
# What MMEngine's checkpoints hold besides tensors.
_NEEDED = [
    (HistoryBuffer, 'mmengine.logging.history_buffer.HistoryBuffer'),
    (_statistic, 'builtins.getattr'), (slice, 'builtins.slice'), *NUMPY,
]


def load_as_data(file: str | os.PathLike | io.BytesIO,
                 map_location: str | Callable | None = None, mmap: bool = False) -> object:
    """Load a whole checkpoint of MMEngine without running code from it.

    Args:
        file: Its path or its bytes.
        map_location: See :func:`torch.load`.
        mmap: Leave tensor values on disk until they are used.

    Returns:
        What was saved, without the config text in ``meta.config`` (of older toolboxes), which
        MMEngine would run on resume.

    Raises:
        InputError: See :func:`amt_mm.checkpoints.read_pickle`; or ``meta`` is no dictionary.
    """
    name = 'checkpoint' if isinstance(file, io.BytesIO) else file
    content = read_pickle(file if isinstance(file, io.BytesIO) else Path(file), name, _NEEDED,
                          map_location, mmap)
    meta = content.get('meta') if isinstance(content, Mapping) else None
    # A record of numpy has entries, too, which cannot be deleted.
    if not isinstance(meta, dict | None):
        raise InputError(f'{name}: its meta is a {type(meta).__name__}, not a dictionary: the '
                         'checkpoint was damaged or changed; use another one')
    if meta and 'config' in meta and not checkpoints_are_trusted():
        del meta['config']
        print_log(f'{name}: meta.config is ignored, as MMEngine would execute it',
                  logger='current')
    return content


def _load(file: str | io.BytesIO, map_location: str | Callable | None = None,
          weights_only: bool | None = None) -> object:
    return load_as_data(file, map_location)


def _load_url(url: str, model_dir: str | None = None,
              map_location: str | Callable | None = None, progress: bool = True) -> object:
    """Download a checkpoint into torch's cache and load it."""
    folder = Path(model_dir or os.path.join(torch.hub.get_dir(), 'checkpoints'))
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / os.path.basename(urlparse(url).path)
    if not path.exists():
        torch.hub.download_url_to_file(url, str(path), None, progress=progress)
    return load_as_data(path, map_location)


def load_safely() -> None:
    """Replace MMEngine's two functions.

    Raises:
        RuntimeError: This release of MMEngine has no such functions.
    """
    for name, ours in (('_safe_torch_load', _load), ('load_url', _load_url)):
        if not hasattr(mmengine_checkpoint, name):
            raise RuntimeError(f'this release of onedl-mmengine has no '
                               f'mmengine.runner.checkpoint.{name}, which amt_mm replaces to load '
                               'checkpoints safely: install requirements/mminstall.txt')
        setattr(mmengine_checkpoint, name, ours)
