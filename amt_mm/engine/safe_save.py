"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amt_mm.errors import InputError
from amt_mm.saliency.map_file import replace_durably

# Hidden, so that no pattern for checkpoints finds a half of one.
_PREFIX, _SUFFIX = '.', '.saving'


@contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[Path]:
    """Let a file appear, or take another's place, only when it is complete and on the disk.

    The block writes under a temporary name in the same folder. After it, file and folder
    are flushed (fsync) and the file is renamed. If the block fails, the temporary file is
    removed and whatever had the name stays as it was; if the process is killed,
    :func:`remove_leftovers` does that at the next start.

    Args:
        path: The file to make, on a local or mounted file system. Its folder is made if
            need be.

    Yields:
        The temporary name to write to.

    Raises:
        InputError: The system refused to write (full disk, quota, rights).

    Example:
        >>> with atomic_file('work_dirs/run/epoch_1.pth') as temporary:
        ...     torch.save(state, temporary)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'{_PREFIX}{path.name}{_SUFFIX}')
    try:
        yield temporary
        replace_durably(temporary, path)
    except OSError as error:
        raise _refused(path, temporary, error.strerror or str(error)) from error
    except RuntimeError as error:
        # This is how torch's own writer says that the system refused.
        if 'PytorchStreamWriter' not in str(error) and 'inline_container' not in str(error):
            raise
        raise _refused(path, temporary, str(error).splitlines()[0]) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a small text file by :func:`atomic_file`; paths in it may be any bytes."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, errors='surrogateescape')


def remove_leftovers(folder: str | os.PathLike) -> list[Path]:
    """Remove what killed processes left half written in a folder.

    Only for the one process that saves there, while it does not.

    Returns:
        The files removed.
    """
    found = sorted(Path(folder).glob(f'{_PREFIX}*{_SUFFIX}'))
    for file in found:
        file.unlink()
    return found


def _refused(path: Path, temporary: Path, reason: str) -> InputError:
    written = temporary.stat().st_size if temporary.is_file() else 0
    free = shutil.disk_usage(path.parent).free
    return InputError(
        f'{path} could not be saved: {reason} ({written / 1e6:.0f} MB were written, now '
        f'{free / 1e6:.0f} MB are free); what was saved before is as it was: make room in '
        f'{path.parent}, then go on with --resume')
