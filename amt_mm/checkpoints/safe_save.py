"""Write files atomically and durably."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from amt_mm.errors import InputError
from amt_mm.saliency.map_file import replace_durably

# Hidden from patterns for checkpoints.
_PREFIX, _SUFFIX = '.', '.saving'
# What training saves.
_CHECKPOINTS = ('*.pth', 'last_checkpoint')


@contextmanager
def atomic_file(path: str | os.PathLike) -> Iterator[Path]:
    """Create or replace a file only when it is complete and on disk.

    The block writes to a temporary name in the same folder; then file and folder are flushed
    (fsync) and the file is renamed. If the block fails, the temporary file is removed and the old
    file stays; of a killed training, :func:`remove_leftovers` removes it at the next start.
    A symbolic link under the name is replaced: nothing is written where it leads.

    Args:
        path: On a local or mounted file system. Its folder is created.

    Yields:
        The temporary name to write to.

    Raises:
        InputError: The system refused to write (full disk, quota, permissions).

    Example:
        >>> with atomic_file('work_dirs/run/epoch_1.pth') as temporary:
        ...     torch.save(state, temporary)
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'{_PREFIX}{path.name}{_SUFFIX}')
    try:
        # A link under its name is replaced, not followed.
        temporary.unlink(missing_ok=True)
        yield temporary
        replace_durably(temporary, path)
    except OSError as error:
        raise _refused(path, temporary, error.strerror or str(error)) from error
    except RuntimeError as error:
        # Torch's own writer reports refusals like this.
        if 'PytorchStreamWriter' not in str(error) and 'inline_container' not in str(error):
            raise
        raise _refused(path, temporary, str(error).splitlines()[0]) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Write a small text file with :func:`atomic_file`; paths in it may be any bytes."""
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding='utf-8', errors='surrogateescape')


def remove_leftovers(folder: str | os.PathLike) -> list[Path]:
    """Remove and return temporary files of checkpoints that killed processes were saving.

    Only for the one process that saves checkpoints to the folder, while it does not. Files of other
    kinds, such as those of ``amt embed``, another process may be writing at this moment.
    """
    found = sorted(file for name in _CHECKPOINTS
                   for file in Path(folder).glob(f'{_PREFIX}{name}{_SUFFIX}'))
    for file in found:
        file.unlink()
    return found


def _refused(path: Path, temporary: Path, reason: str) -> InputError:
    written = temporary.stat().st_size if temporary.is_file() else 0
    free = shutil.disk_usage(path.parent).free
    return InputError(
        f'{path} could not be saved: {reason} ({written / 1e6:.0f} MB were written, '
        f'{free / 1e6:.0f} MB are free); earlier files are intact: free space in '
        f'{path.parent} and run the same command again (tools/train.py: with --resume)')
