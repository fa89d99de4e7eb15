"""All findings, in the order in which one mends them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .exchange import exchange_between_two
from .finding import Finding
from .folders import look_at_folder, look_at_shared_memory
from .stack import ask_stack, driver_is_here, judge_stack
from .versions import look_at_versions


def examine(work_dir: Path) -> Iterator[Finding]:
    """Look at versions, stack, CPU, GPUs, folders and processes.

    Args:
        work_dir: Where runs are to write; it need not exist, and is not made.

    Yields:
        Findings, as they are made: the whole takes some ten seconds, most of it imports.
    """
    yield from look_at_versions()
    facts = ask_stack()
    yield from judge_stack(facts, cores=len(os.sched_getaffinity(0)), driver=driver_is_here())
    yield look_at_shared_memory()
    yield from look_at_folder(work_dir)
    if facts['torch'].get('gloo'):
        yield exchange_between_two()
