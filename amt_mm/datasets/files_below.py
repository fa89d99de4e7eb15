"""The files of a folder and its subfolders."""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Iterator

from amt_mm.errors import InputError


def files_below(folder: str) -> Iterator[tuple[str, ...]]:
    """Relative paths, in parts, of the files in a folder and below, through links too.

    Raises:
        InputError: A link leads to a folder that it lies in: its files would be found
            again and again.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_file():
                yield (entry.name, )
            elif entry.is_dir() and not entry.name.startswith('.'):
                if entry.is_symlink():
                    target = osp.realpath(entry.path)
                    if osp.commonpath([target, osp.realpath(folder)]) == target:
                        raise InputError(f'{entry.path}: this link leads back to {target}, which '
                                         'contains it, so the search would never end: '
                                         'remove it')
                yield from ((entry.name, *parts) for parts in files_below(entry.path))
