"""Run tasks several at a time; one that fails does not stop the others."""

from __future__ import annotations

import queue
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from tqdm import tqdm

from amt_mm.errors import InputError, RunError


def run_pool(tasks: Mapping[str, Callable[[object], None]], places: Sequence[object],
             after_each: Callable[[], None] = lambda: None) -> dict[str, str]:
    """Run tasks, each in a place of its own.

    Args:
        tasks: Name -> what is called with its place; they start in this order.
        places: Such as GPUs, each for one task at a time.
        after_each: Called after each finished task, never concurrently.

    Returns:
        Name of a failed task -> reason, in the order of ``tasks``.
    """
    free: queue.SimpleQueue = queue.SimpleQueue()
    for place in places:
        free.put(place)

    def one(task: Callable[[object], None]) -> None:
        place = free.get()
        try:
            task(place)
        finally:
            free.put(place)

    failed = {}
    pool = ThreadPoolExecutor(len(places))
    futures = {pool.submit(one, task): name for name, task in tasks.items()}
    try:
        for future in tqdm(as_completed(futures), total=len(tasks), unit='run', disable=None):
            name, error = futures[future], future.exception()
            if error is None:
                tqdm.write(f'finished: {name}')
                after_each()
                continue
            failed[name] = str(error)
            if not isinstance(error, (InputError, RunError, OSError)):
                # A bug ends this run alone, too.
                failed[name] = f'{type(error).__name__}: {error}'
                tqdm.write(''.join(traceback.format_exception(error)).rstrip())
            tqdm.write(f'failed: {name}: {failed[name]}')
    finally:
        # Stopped: start nothing more.
        pool.shutdown(cancel_futures=True)
    return {name: failed[name] for name in tasks if name in failed}


def run_together(tasks: Mapping[str, Callable[[], None]], jobs: int) -> None:
    """Run tasks as :func:`run_pool` does, which reports each failure when it happens.

    Args:
        tasks: Name -> what is called.
        jobs: Tasks at a time.

    Raises:
        Exception: The first that a task raised, when all have ended.
    """
    errors = []

    def noting(task: Callable[[], None]) -> None:
        try:
            task()
        except Exception as error:
            errors.append(error)
            raise

    run_pool({name: lambda _, task=task: noting(task) for name, task in tasks.items()},
             range(jobs))
    for error in errors:
        raise error
