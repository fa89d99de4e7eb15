"""Do not write through symbolic links: a folder from elsewhere may have them under any name."""

from __future__ import annotations

import errno
import os

from amt_mm.errors import InputError


def no_link(path: str, flags: int) -> int:
    """Opener for ``open`` that does not follow a symbolic link; folders may be links.

    Raises:
        InputError: The file is one.
    """
    try:
        return os.open(path, flags | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise InputError(f'{path}: is a symbolic link, through which nothing is written: remove '
                         'it') from error
