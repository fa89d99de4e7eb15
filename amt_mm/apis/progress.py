"""One progress bar over several trainings in processes of their own."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from .scalars import scalars

_SECONDS = 2


@contextmanager
def following(folders: Sequence[Path], steps: int) -> Iterator[None]:
    """Show how far the runs in some folders are, and the time left.

    Args:
        folders: Their work folders.
        steps: Steps of all of them together.
    """
    ended = threading.Event()
    with tqdm(total=steps, unit='step', desc='training', disable=None) as bar:

        def follow() -> None:
            while not ended.wait(_SECONDS):
                bar.update(sum(map(_steps, folders)) - bar.n)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        try:
            yield
            bar.update(steps - bar.n)
        finally:
            ended.set()
            thread.join()


def _steps(folder: Path) -> int:
    """The last step that a run has logged."""
    return max((record['step'] for record in scalars(folder) if 'loss' in record), default=0)
