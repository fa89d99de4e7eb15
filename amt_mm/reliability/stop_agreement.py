"""Let all processes stop at the same step, without waiting for a device."""

from __future__ import annotations

from datetime import timedelta

import torch
from torch import Tensor, distributed

from amt_mm.errors import InputError


class StopAgreement:
    """Exchange one flag a step between processes, on their CPUs.

    A flag set after one step reaches all processes after the next, because the exchange runs
    during that step. All processes must make the same calls in the same order. A single process
    gets its own flag at once.

    Args:
        timeout: Timeout of an exchange. Defaults to torch's.

    Raises:
        InputError: The gloo process group cannot be created.
    """

    def __init__(self, timeout: timedelta | None = None) -> None:
        self._group = self._work = None
        if distributed.is_initialized() and distributed.get_world_size() > 1:
            try:
                # The default group may be NCCL, which exchanges GPU tensors only.
                self._group = distributed.new_group(timeout=timeout, backend='gloo')
            except RuntimeError as error:
                raise InputError(
                    'processes cannot agree on stopping, since gloo cannot connect them '
                    f'({str(error).splitlines()[0]}): name the network in GLOO_SOCKET_IFNAME, or '
                    'leave the hook out with default_hooks.stop_signal=None') from error

    def exchange(self, stop: bool) -> bool:
        """Send whether to stop; return whether any process said so in the previous call."""
        if self._group is None:
            return stop
        heard = self._hear()
        if not heard:
            self._flag = torch.tensor([int(stop)])
            self._work = distributed.all_reduce(self._flag, distributed.ReduceOp.MAX, self._group,
                                                async_op=True)
        return heard

    def exchange_now(self, stop: bool) -> bool:
        """The same for the current call, which waits for all processes."""
        return self.exchange(stop) or (self._group is not None and self._hear())

    def least(self, number: int) -> int:
        """Smallest of the processes' numbers."""
        if self._group is None:
            return number
        smallest = torch.tensor([number])
        distributed.all_reduce(smallest, distributed.ReduceOp.MIN, self._group)
        return int(smallest)

    def close(self) -> None:
        """Wait for all processes and end the exchange."""
        if self._group is not None:
            self._hear()
            distributed.barrier(self._group)
            distributed.destroy_process_group(self._group)
            self._group = None

    def _hear(self) -> bool:
        if self._work is None:
            return False
        self._work.wait()
        self._work = None
        flag: Tensor = self._flag
        return bool(flag)
