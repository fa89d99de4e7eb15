"""Steps that succeed on all ranks or on none, and ranks that wait for each other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import TypeVar

from mmengine.dist import (
    all_gather_object,
    broadcast_object_list,
    get_world_size,
    is_main_process,
)
from torch import distributed

from amt_mm.errors import InputError

_T = TypeVar('_T')
# Longer than any step takes.
_PATIENCE = timedelta(days=30)


@contextmanager
def waiting_for_all() -> Iterator[None]:
    """Let no rank leave this context before all have done what is in it, however long it takes.

    A collective would end the run at its timeout, although the rank that it waits for still
    computes; a dead one is noticed by its heartbeat. All ranks must enter.
    """
    if get_world_size() == 1:
        yield
        return
    # Connected before the work: connecting has the timeout of the default group.
    group = distributed.new_group(timeout=_PATIENCE, backend='gloo')
    yield
    distributed.barrier(group)
    distributed.destroy_process_group(group)


def run_on_all_ranks(step: Callable[[], _T], patient: bool = False) -> _T:
    """Run a step on every rank and stop all ranks if it fails on one.

    Otherwise the others would wait in their next collective until its timeout. A collective
    call: all ranks must make it.

    Args:
        step: Must not communicate between ranks.
        patient: Wait for the step of other ranks however long it takes, see
            :func:`waiting_for_all`. Defaults to False: at most for the timeout of collectives,
            which ends a run that hangs.

    Returns:
        This rank's result of the step.

    Raises:
        InputError: The step failed on some rank; the message of the first one. A rank whose
            own error is of another kind raises that one.
    """
    result, failure, line = None, None, None
    with waiting_for_all() if patient else nullcontext():
        try:
            result = step()
        except Exception as error:
            failure, line = error, str(error) or type(error).__name__
    lines = [line for line in all_gather_object(line) if line is not None]
    if failure is not None and not isinstance(failure, InputError):
        raise failure
    if lines:
        raise InputError(lines[0])
    return result


def from_rank0(compute: Callable[[], _T], patient: bool = False) -> _T:
    """Compute a value on rank 0 and send it, pickled, to all ranks; see :func:`run_on_all_ranks`.

    Raises:
        InputError: ``compute`` raised one; on all ranks.
    """
    values = [run_on_all_ranks(lambda: compute() if is_main_process() else None, patient)]
    broadcast_object_list(values)
    return values[0]
