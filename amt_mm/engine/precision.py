"""Precision of a run: ``--amp``, and the replacement of fp16 on a CPU."""

from __future__ import annotations

from collections.abc import MutableMapping

from mmengine.config import Config
from mmengine.device import get_device

from amt_mm.errors import InputError
from amt_mm.messages import warn

_BF16 = 'amt_mm.BF16OptimWrapper'


def use_mixed_precision(cfg: Config, precision: str) -> None:
    """Apply ``--amp`` to a config.

    Args:
        cfg: The config, with ``optim_wrapper``; changed in place.
        precision: ``'fp16'``, with dynamic loss scaling, or ``'bf16'``, which needs none.

    Raises:
        InputError: fp16 without a GPU, or an ``optim_wrapper`` of another kind.
    """
    wrapper = cfg.optim_wrapper
    if precision == 'fp16' and get_device() == 'cpu':
        raise InputError('--amp fp16 needs a GPU, and there is none here: use --amp bf16, or leave '
                         'it out')
    if wrapper.get('type', 'OptimWrapper') not in ('OptimWrapper', 'AmpOptimWrapper', _BF16):
        raise InputError(f'--amp cannot replace optim_wrapper.type={wrapper.type}')
    if precision == 'bf16':
        _replace_mixed_precision(wrapper, _BF16)
    else:
        wrapper.type = 'AmpOptimWrapper'
        wrapper.setdefault('loss_scale', 'dynamic')
        wrapper.pop('dtype', None)


def fit_precision_to_cpu(cfg: Config) -> None:
    """Without a GPU, replace mmengine's mixed precision, which cannot run.

    bf16 stays bf16; fp16 becomes fp32, with a warning.
    """
    wrapper = cfg.get('optim_wrapper')
    if get_device() == 'cpu' and wrapper and wrapper.get('type') == 'AmpOptimWrapper':
        if wrapper.get('dtype') == 'bfloat16':
            _replace_mixed_precision(wrapper, _BF16)
        else:
            _replace_mixed_precision(wrapper, 'OptimWrapper')
            warn('mixed precision in fp16 needs a GPU; this run computes in fp32 (--amp bf16 runs '
                 'on CPUs too)')


def _replace_mixed_precision(wrapper: MutableMapping, kind: str) -> None:
    wrapper['type'] = kind
    for key in ('loss_scale', 'dtype', 'use_fsdp'):
        wrapper.pop(key, None)
