"""Record scalars in TensorBoard or Weights & Biases too: ``--tensorboard``, ``--wandb``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from mmengine.config import Config, ConfigDict

from amt_mm.config_parts import class_name
from amt_mm.errors import InputError

# Flag -> backend of MMEngine, and what that imports.
_BACKENDS = {'tensorboard': ('TensorboardVisBackend', 'torch.utils.tensorboard'),
             'wandb': ('WandbVisBackend', 'wandb')}


def record_in(cfg: Config, kind: str) -> None:
    """Add a backend to the visualizer of a config, unless it has one of this type.

    MMEngine's own file stays. The main process alone writes, below ``vis_data`` of the run's
    folder. Weights & Biases writes there without a connection (``wandb sync`` uploads it) unless
    ``WANDB_MODE`` says otherwise; runs that are resumed share the group of their work folder.

    Args:
        cfg: The config, with ``work_dir``; changed in place.
        kind: ``'tensorboard'`` or ``'wandb'``.

    Raises:
        InputError: Its package is not installed.
    """
    name, module = _BACKENDS[kind]
    try:
        import_module(module)
    except ImportError as error:
        raise InputError(f'--{kind}: {error}; to install it: pip install {kind}') from error
    visualizer = cfg.get('visualizer')
    if visualizer is None:
        visualizer = dict(type='Visualizer')
    # Without any, MMEngine would add its own; a list that is given replaces that.
    backends = visualizer.get('vis_backends') or [dict(type='LocalVisBackend')]
    backends = [backends] if isinstance(backends, Mapping) else backends
    if all(class_name(backend) != name for backend in backends):
        backend = dict(type=name)
        if kind == 'wandb':
            folder = Path(cfg.work_dir).absolute().name
            backend['init_kwargs'] = dict(project='amt_mm', group=folder, name=folder,
                                          mode=os.environ.get('WANDB_MODE', 'offline'))
        backends = [*backends, backend]
    cfg.visualizer = ConfigDict({**visualizer, 'vis_backends': backends})
