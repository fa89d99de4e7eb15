"""BF16OptimWrapper: mixed precision in bfloat16, on GPUs and on CPUs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from mmengine.device import get_device
from mmengine.optim import OptimWrapper
from mmengine.runner.amp import autocast
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from amt_mm.errors import InputError
from amt_mm.messages import warn
from amt_mm.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class BF16OptimWrapper(OptimWrapper):
    """Forward passes under autocast to bfloat16; weights, gradients and optimiser in fp32.

    bfloat16 has the range of fp32, so losses are not scaled, no step is skipped and checkpoints
    contain no state of a scaler: a run can be resumed from one in fp32 or fp16, and vice versa.
    MMEngine's ``AmpOptimWrapper(dtype='bfloat16')`` scales nevertheless, and refuses CPUs, on which
    autocast works. On a CPU it is only faster with instructions for bfloat16
    (:func:`cpu_has_bf16`); without them, a warning says so. Attention on CPUs is computed by plain
    matrix products, since the backward pass of torch's fused CPU kernel is several times slower in
    bfloat16 than in fp32.

    Args:
        loss_scale: None, or ``'dynamic'`` as inherited from an fp16 config, which is ignored.
            Defaults to None.
        **kwargs: See :class:`mmengine.optim.OptimWrapper`.

    Raises:
        InputError: A fixed ``loss_scale``, or a GPU without bfloat16.
    """

    def __init__(self, loss_scale: str | None = None, **kwargs) -> None:
        if loss_scale not in (None, 'dynamic'):
            raise InputError(f'optim_wrapper.loss_scale={loss_scale} has no effect in bfloat16, '
                             'which needs no scale: leave it out')
        if get_device() == 'cuda' and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise InputError(f'{torch.cuda.get_device_name()} has no bfloat16: use --amp fp16, or '
                             "optim_wrapper.type='AmpOptimWrapper'")
        if get_device() == 'cpu' and not cpu_has_bf16():
            warn('this CPU has no instructions for bfloat16 and emulates them, about ten times '
                 "slower than fp32: leave out --amp bf16 (optim_wrapper.type='OptimWrapper')")
        super().__init__(**kwargs)

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Enter autocast, and the parent's context for gradient accumulation."""
        with super().optim_context(model), autocast(dtype=torch.bfloat16), _attention():
            yield

    def backward(self, loss: Tensor, **kwargs) -> None:
        """Call the parent's; recomputed blocks use the attention kernel of the forward pass."""
        with _attention():
            super().backward(loss, **kwargs)


def cpu_has_bf16() -> bool:
    """Whether the CPU has instructions for matrix products in bfloat16.

    On a CPU without AVX-512 a matrix product in bfloat16 runs at 6 to 10 GFLOPS, in fp32 at 53 to
    71 (EPYC of the third generation, one core, torch 2.13).
    """
    if not hasattr(torch.cpu, 'get_capabilities'):  # before torch 2.11: unknown
        return True
    found = torch.cpu.get_capabilities()
    return any(found.get(name) for name in ('amx_bf16', 'avx512_bf16', 'bf16'))  # the last on ARM


def _attention() -> AbstractContextManager:
    """Select the fastest attention kernel."""
    return sdpa_kernel(SDPBackend.MATH) if get_device() == 'cpu' else nullcontext()
