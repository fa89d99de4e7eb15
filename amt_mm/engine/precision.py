"""Mixed precision: bfloat16 on GPUs and CPUs, and what a command line or a CPU makes of it."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmengine.runner.amp import autocast
from torch import nn

from amt_mm.errors import InputError
from amt_mm.registry import OPTIM_WRAPPERS

from .launch import warn

_BF16 = 'amt_mm.BF16OptimWrapper'


@OPTIM_WRAPPERS.register_module()
class BF16OptimWrapper(OptimWrapper):
    """Forward passes under autocast to bfloat16; weights, gradients and their use in fp32.

    bfloat16 has the range of fp32, so nothing is scaled, no step is skipped and there is no
    scaler's state in checkpoints: those of an fp32 or fp16 run can be resumed, and the other
    way round. MMEngine's ``AmpOptimWrapper(dtype='bfloat16')`` scales all the same, and
    refuses CPUs, where autocast works and pays (AVX-512 BF16, AMX).

    Args:
        loss_scale: None, or ``'dynamic'`` as inherited from a config in fp16; either way
            there is none. Defaults to None.
        **kwargs: See :class:`mmengine.optim.OptimWrapper`.

    Raises:
        InputError: A fixed ``loss_scale``, or a GPU that has no bfloat16.
    """

    def __init__(self, loss_scale: str | None = None, **kwargs) -> None:
        if loss_scale not in (None, 'dynamic'):
            raise InputError(f'optim_wrapper.loss_scale={loss_scale} has no effect in bfloat16, '
                             'which needs no scale: leave it out')
        if get_device() == 'cuda' and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise InputError(f'{torch.cuda.get_device_name()} has no bfloat16: use --amp fp16, or '
                             "optim_wrapper.type='AmpOptimWrapper'")
        super().__init__(**kwargs)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast, and the parent's gradient accumulation."""
        with super().optim_context(model), autocast(dtype=torch.bfloat16):
            yield


def use_mixed_precision(cfg: Config, precision: str) -> None:
    """Enter ``--amp`` in a config.

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
