"""Refuse invalid settings of a config in one line that names the field, before building."""

from __future__ import annotations

import math
from collections.abc import Mapping

from mmengine.config import Config

from amt_mm.checks import is_number
from amt_mm.config_parts import LOADERS
from amt_mm.errors import InputError

# Sections that contain settings, and so cannot be a text or a number themselves.
_SECTIONS = (
    'model', *LOADERS, 'train_cfg', 'val_cfg', 'test_cfg', 'optim_wrapper', 'param_scheduler',
    'default_hooks', 'custom_hooks', 'auto_scale_lr', 'env_cfg', 'randomness', 'visualizer',
    'log_processor', 'overlay', 'probe')
_TEXTS = ('load_from', 'work_dir')
# Smallest valid integers.
_WHOLE = {
    'train_cfg.max_epochs': 1, 'train_cfg.max_iters': 1, 'train_cfg.val_interval': 1,
    'optim_wrapper.accumulative_counts': 1, 'auto_scale_lr.base_batch_size': 1,
    'randomness.seed': 0,
    **{f'{loader}.batch_size': 1 for loader in LOADERS},
    **{f'{loader}.num_workers': 0 for loader in LOADERS}}
# Numbers of at least 0. torch's SGD accepts NaN; clipping to a negative norm reverses gradients.
_POSITIVE = ('optim_wrapper.optimizer.lr', 'optim_wrapper.optimizer.weight_decay',
             'optim_wrapper.clip_grad.max_norm', 'optim_wrapper.clip_grad.clip_value')


def check_settings(cfg: Config) -> None:
    """Refuse numbers out of range, and sections that are not dicts or lists.

    Other settings are checked by the classes that take them, when these are built.

    Args:
        cfg: A config; missing settings and None are not checked.

    Raises:
        InputError: Names the field and its value.
    """
    for name in _SECTIONS:
        if isinstance(cfg.get(name), (bool, int, float, str)):
            raise InputError(f'config: {name}={cfg[name]!r} must be a dict or list of settings')
    for name in _TEXTS:
        if not isinstance(cfg.get(name) or '', str):
            raise InputError(f'config: {name}={cfg[name]!r} must be a path')
    for name, least in _WHOLE.items():
        value = _at(cfg, name)
        if value is not None and not (_is_finite(value) and value == int(value) >= least):
            raise InputError(f'config: {name}={value!r} must be a whole number of at least {least}')
    for name in _POSITIVE:
        value = _at(cfg, name)
        if value is not None and not (_is_finite(value) and value >= 0):
            raise InputError(f'config: {name}={value!r} must be a number of at least 0')


def _at(cfg: Config, name: str) -> object:
    for part in name.split('.'):
        cfg = cfg.get(part) if isinstance(cfg, (Config, Mapping)) else None
    return cfg


def _is_finite(value: object) -> bool:
    return is_number(value) and math.isfinite(value)
