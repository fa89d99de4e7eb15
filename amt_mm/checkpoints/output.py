"""Where a tool writes its results, tried before it works for hours."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from amt_mm.errors import InputError


def require_outside(out: Path, folder: Path) -> None:
    """Refuse results in a folder of images, which would count as images of it the next time.

    Args:
        out: A file or folder to be written.
        folder: The images.

    Raises:
        InputError: ``out`` is the folder or lies in it, perhaps through links.
    """
    if Path(os.path.realpath(out)).is_relative_to(os.path.realpath(folder)):
        raise InputError(f'{out}: results inside the folder of images ({folder}) would count as '
                         'images: write them to another place (--out)')


def require_writable(out: Path) -> None:
    """Make the folder that a file is to be in, and write some bytes there.

    Args:
        out: The file. Nothing is left of the trial but the folder.

    Raises:
        InputError: The path has no name, or the system refuses it: no rights, a full disk, a name
            too long.
    """
    if out.name in ('', '..'):
        raise InputError(f'{out}: is a folder: add the name of a file in it')
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=out.parent, prefix=out.name) as file:
            file.write(bytes(4096))
    except OSError as error:
        raise InputError(f'{out}: cannot be written: {error.strerror}') from error
