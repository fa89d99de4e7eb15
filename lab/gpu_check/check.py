"""Checks one after another, within a time."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch

SKIPPED = 'skipped: no time left'
_SHOWN = 100  # letters of an error


@dataclass(frozen=True)
class Check:
    """One line of the table.

    Attributes:
        name: Kind of the check.
        what: What is checked.
        work: Returns the other cells of the line, by :data:`lab.gpu_check.__main__.COLUMNS`.
    """

    name: str
    what: str
    work: Callable[[], dict]


class Failed(Exception):
    """The check was made, and what it checks is wrong; its text says how."""


def run_checks(checks: Iterable[Check], seconds: float,
               now: Callable[[], float] = time.monotonic) -> Iterator[dict]:
    """Make all checks for which there is time; an error ends the check, not the others.

    A check begins if there is as much time left as the longest before it has taken.

    Args:
        checks: In the order of their importance.
        seconds: For all of them.
        now: The clock.

    Yields:
        A line for each check, with ``failed``, whether it was made and is wrong.
    """
    start, longest = now(), 0.0
    for check in checks:
        line = {'check': check.name, 'what': check.what, 'failed': False}
        begun = now()
        if begun - start + longest >= seconds:
            yield {**line, 'outcome': SKIPPED}
            continue
        try:
            line |= {'outcome': 'measured', **check.work()}
        except Failed as error:
            line |= {'outcome': f'failed: {error}', 'failed': True}
        except Exception as error:  # the other lines are worth having
            first = str(error).strip().partition('\n')[0][:_SHOWN]
            line |= {'outcome': f'failed: {type(error).__name__}: {first}', 'failed': True}
        release()
        longest = max(longest, now() - begun)
        yield {**line, 'seconds': now() - begun}


def release() -> None:
    """Free the memory of what is no longer used, for what comes next."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
