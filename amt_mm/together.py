"""What all processes do together, or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mmengine.dist import all_gather_object, broadcast_object_list, is_main_process

from amt_mm.errors import InputError

_T = TypeVar('_T')


def together(step: Callable[[], _T]) -> _T:
    """Take a step in all processes; where it fails in one, all stop.

    Else the others would wait for that one in their next exchange, until its time limit.
    All processes must call it.

    Args:
        step: What to do, without any exchange between processes.

    Returns:
        What the step gave in this process.

    Raises:
        InputError: The step failed in some process; the line of the first one. An error
            of another kind is raised as it is in the process that has it.
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


def decided_by_first(decide: Callable[[], _T]) -> _T:
    """Let the first process decide, and all go by it; all must call this.

    Args:
        decide: What to do there, without any exchange between processes. What it gives is
            sent to the others, pickled.

    Raises:
        InputError: It raised one; in all processes.
    """
    said = [together(lambda: decide() if is_main_process() else None)]
    broadcast_object_list(said)
    return said[0]
