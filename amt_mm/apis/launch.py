"""What ``tools/train.py`` and ``tools/test.py`` share: from the command line to a runner."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import RUNNERS
from mmengine.runner import Runner
from torch import distributed

from amt_mm import registry  # noqa: F401  (makes `amt_mm.X` and `amt_mm::path` known)
from amt_mm.checkpoints.output import (  # noqa: F401  (tools that write begin by it)
    require_outside,
    require_writable,
)
from amt_mm.config.check_settings import check_settings
from amt_mm.config.options import check_options
from amt_mm.config.reading import (  # noqa: F401  (tools check their files by it)
    merge_options,
    read_config,
    require_file,
)
from amt_mm.config_parts import LOADERS
from amt_mm.errors import InputError
from amt_mm.hooks import CheckpointKeysHook, RankResultHook
from amt_mm.messages import (  # noqa: F401  (tools end by it)
    GOES_ON,
    end_interrupted,
    one_line_errors,
    warn,
)
from amt_mm.reliability.peers import exchange_timeout
from amt_mm.reliability.watchdog import End, parent_watch, watchdog

_DDP = 'MMDistributedDataParallel'
# Where tools/launch_processes.py says which process it is.
_LAUNCHER = 'AMT_MM_LAUNCHER'


def enter_encoder(cfg: Config, encoder: str | None) -> None:
    """Enter ``--encoder`` in the hook that loads a pre-trained encoder.

    Raises:
        InputError: The config has no such hook.
    """
    if encoder is None:
        return
    hook = (cfg.get('default_hooks') or {}).get('pretrained')
    if hook is None:
        raise InputError(f'--encoder {encoder}: the config has no default_hooks.pretrained to load '
                         'an encoder, as configs of evaluation and detection have')
    hook.encoder = encoder


def load_config(path: str, args: argparse.Namespace) -> Config:
    """Read a config and apply the shared arguments.

    Args:
        path: A file, or ``package::path/to/config.py`` for a config that an
            installed package carries (``amt_mm::mae/...``, ``mmpretrain::mae/...``).
        args: Parsed arguments of :func:`amt_mm.cli.arguments.add_shared_arguments`.

    Returns:
        The config with ``work_dir`` and ``launcher`` set and its data loaders
        completed.

    Raises:
        InputError: No such file or package, a config that cannot be read, or
            options that do not fit it.
    """
    cfg = read_config(path)
    options = args.cfg_options or {}
    added = check_options(cfg, options, '--cfg-options')
    merge_options(cfg, options)
    for line in added:
        warn(line)
    check_settings(cfg)
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get('work_dir') is None:
        cfg.work_dir = f'./work_dirs/{Path(path.rpartition("::")[2]).stem}'
    cfg.launcher = args.launcher
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    _complete_dataloaders(cfg)
    return cfg


def _complete_dataloaders(cfg: Config) -> None:
    """Add what mmpretrain's own tool adds to a loader, and mend what does not run."""
    # Configs count on the cores of a machine with GPUs; with fewer, so many workers are no slower.
    warnings.filterwarnings('ignore', message='This DataLoader will create')
    for name in LOADERS:
        loader = cfg.get(name)
        if not isinstance(loader, Mapping):
            continue
        # Configs of mmpretrain count on these; those of mmdet need mmengine's defaults.
        if cfg.get('default_scope') == 'mmpretrain':
            loader.setdefault('collate_fn', dict(type='default_collate'))
            loader.setdefault('pin_memory', get_device() != 'cpu')
            loader.setdefault('persistent_workers', True)
        # torch refuses to keep workers alive where there are none.
        if loader.get('num_workers', 0) == 0:
            loader['persistent_workers'] = False
        # Inherited from `mmpretrain::...`, the function is given the scope as an argument.
        if isinstance(loader.get('collate_fn'), Mapping):
            loader['collate_fn'].pop('_scope_', None)


def prepare_processes(cfg: Config) -> None:
    """Check the launcher, end with it, and start the process group where mmengine cannot.

    mmengine needs an accelerator for that: it selects a CUDA device without
    asking, and gives one to the model's wrapper. On a machine without, the
    group is started here with gloo (mmengine leaves a running one alone) and
    the wrapper is configured for the CPU.

    Args:
        cfg: The config, with ``launcher``. On a CPU, ``model_wrapper_cfg`` is
            completed in place.

    Raises:
        InputError: The environment is not what the launcher gives, or there
            are fewer GPUs than processes.
    """
    if cfg.launcher == 'none':
        if 'TORCHELASTIC_RUN_ID' in os.environ and int(os.environ['WORLD_SIZE']) > 1:
            raise InputError(f'{os.environ["WORLD_SIZE"]} processes were started, but --launcher '
                             'is none: they would not know of each other; add --launcher pytorch')
        return
    needed = {'pytorch': 'RANK', 'slurm': 'SLURM_PROCID', 'mpi': 'OMPI_COMM_WORLD_RANK'}
    if needed[cfg.launcher] not in os.environ:
        raise InputError(f'--launcher {cfg.launcher}: {needed[cfg.launcher]} is not set; start '
                         'the processes by tools/dist_train.sh, dist_test.sh or slurm_train.sh')
    # Not left to the processes that this one may start.
    watchdog.add(parent_watch(int(os.environ.pop(_LAUNCHER, os.getppid()))))
    if get_device() == 'cpu':
        _prepare_cpu_processes(cfg)
    elif cfg.launcher == 'pytorch' and get_device() == 'cuda':
        local_rank, gpus = int(os.environ['LOCAL_RANK']), torch.cuda.device_count()
        if local_rank >= gpus:
            raise InputError(f'process {local_rank} of this machine has no GPU of its own: there '
                             f'are {gpus}; start at most {gpus} processes')


def _prepare_cpu_processes(cfg: Config) -> None:
    if cfg.launcher != 'pytorch':
        raise InputError(f'--launcher {cfg.launcher} needs a GPU for each process; without GPUs '
                         'use tools/dist_train.sh CONFIG NUM_PROCESSES')
    distributed.init_process_group('gloo', timeout=exchange_timeout(cfg.get('env_cfg')))
    own = cfg.get('model_wrapper_cfg') or {}
    if own.get('type', _DDP) != _DDP:
        return
    cfg.model_wrapper_cfg = {
        'type': _DDP,
        'broadcast_buffers': False,
        'find_unused_parameters': cfg.get('find_unused_parameters', False),
        **own,
        'device_ids': None,
    }


def build_runner(cfg: Config, whole: bool = False) -> Runner:
    """Build the runner: of ``runner_type`` where the config names one, else an OverlayRunner.

    Args:
        cfg: A config that :func:`load_config` and :func:`prepare_processes`
            have dealt with.
        whole: Whether a checkpoint must fill the whole model, not the encoder alone.

    Returns:
        A runner that refuses a checkpoint which does not fit.

    Raises:
        InputError: The config asks for a strategy of MMEngine.
    """
    if cfg.get('strategy') is not None or str(cfg.get('runner_type')).endswith('FlexibleRunner'):
        raise InputError("strategy and runner_type='FlexibleRunner' are incompatible with the "
                         'hooks and loops of amt_mm: leave them out; model_wrapper_cfg=dict(type='
                         "'amt_mm.ShardedModel') shards weights, gradients and the optimiser's "
                         'state')
    # Left out in baselines, since MMEngine lets one base alone set it, and overlays must.
    if 'runner_type' not in cfg:
        cfg.runner_type = 'amt_mm.OverlayRunner'
    runner = RUNNERS.build(cfg)
    runner.register_hook(RankResultHook())
    if whole:
        runner.register_hook(CheckpointKeysHook(whole=True))
    return runner


def end_processes() -> None:
    """Leave the process group together, once all work is done."""
    if distributed.is_initialized():
        distributed.barrier()
        watchdog.leave()
        distributed.destroy_process_group()


def exit_after_gloo(status: int = 0) -> None:
    """End a process of a group here, past the interpreter's own shutdown.

    On GPUs, too, a group of gloo is there for stopping together.

    A thread of gloo that still holds a tensor when the interpreter shuts down
    aborts a process that has succeeded (pytorch pull request 179291); it lets go
    some time after the last exchange, and nothing tells when. Files are closed and
    logs written by now, so nothing is lost by not shutting down.

    Args:
        status: Exit status. A process alone goes on, and ends by itself.
    """
    if int(os.environ.get('WORLD_SIZE', 1)) > 1:
        watchdog.leave(End('see its own message', status))
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
