"""Steps that succeed on all ranks or on none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process

from amt_mm.errors import InputError

_T = TypeVar('_T')


def run_on_all_ranks(step: Callable[[], _T]) -> _T:
    """Run a step on every rank and stop all ranks if it fails on one.

    Otherwise the others would wait in their next collective until its timeout. A collective
    call: all ranks must make it.

    Args:
        step: Must not communicate between ranks.

    Returns:
        This rank's result of the step.

    Raises:
        InputError: The step failed on some rank; the message of the first one. A rank whose
            own error is of another kind raises that one.
    """
    result, failure, line = None, None, None
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


def from_rank0(compute: Callable[[], _T]) -> _T:
    """Compute a value on rank 0 and send it, pickled, to all ranks; see :func:`run_on_all_ranks`.

    Raises:
        InputError: ``compute`` raised one; on all ranks.
    """
    values = [run_on_all_ranks(lambda: compute() if is_main_process() else None)]
    broadcast_object_list(values)
    return values[0]
