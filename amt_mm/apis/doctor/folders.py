"""Disk, shared memory, and whether the work folder takes what a run writes."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .finding import Finding, ok, problem, warning

# A checkpoint of a ViT-B with its optimiser takes 1.3 GB, and is written next to the previous one.
_LITTLE_DISK = 10 * 2**30
_NO_DISK = 2**30
# Workers lay their batches there: one of 256 images of 224 pixels takes 150 MB, and each of 8
# workers holds two.
_LITTLE_MEMORY = 2 * 2**30


def look_at_shared_memory(folder: Path = Path('/dev/shm')) -> Finding:
    """Whether workers of a data loader have room for their batches."""
    advice = ('workers of a data loader lay batches there: start the container with --shm-size=8g, '
              'or set train_dataloader.num_workers=0')
    try:
        size = shutil.disk_usage(folder)
    except OSError as error:
        return warning(f'{folder}: {error.strerror}; {advice}')
    text = f'{folder} has {_gib(size.free)} of {_gib(size.total)} free'
    return ok(text) if size.free >= _LITTLE_MEMORY else warning(f'{text}; {advice}')


def look_at_folder(folder: Path) -> Iterator[Finding]:
    """Look at the free disk of a folder that may not exist, and write there.

    Files are written, renamed and locked in a temporary folder, as a run does with checkpoints.
    """
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        free = shutil.disk_usage(there).free
        with tempfile.TemporaryDirectory(dir=there, prefix='.amt_doctor_') as trial:
            _write(Path(trial))
            locks = _has_locks(Path(trial))
    except OSError as error:
        yield problem(f'{there}: cannot be written ({error.strerror}): give another --work-dir, or '
                      'fix its permissions')
        return
    if not locks:
        yield warning(f'{there}: its file system does not lock files, so a second run in the same '
                      'folder would go unnoticed: start none there, or mount it with locks')
    text = f'{there} can be written and has {_gib(free)} free'
    if free < _NO_DISK:
        yield problem(f'{text}: make room, a checkpoint of a ViT-B takes 1.3 GB')
    elif free < _LITTLE_DISK:
        yield warning(f'{text}: make room, or keep few checkpoints '
                      '(default_hooks.checkpoint.max_keep_ckpts)')
    else:
        yield ok(text)


def _write(trial: Path) -> None:
    with open(trial / 'part', 'wb') as file:
        file.write(bytes(2**20))
        os.fsync(file.fileno())
    os.replace(trial / 'part', trial / 'whole')


def _has_locks(trial: Path) -> bool:
    with open(trial / 'whole', 'ab') as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


def _gib(size: int) -> str:
    return f'{size / 2**30:.1f} GiB'
