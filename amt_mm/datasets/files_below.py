"""Find the files of a folder."""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Iterator

from amt_mm.errors import InputError


def files_below(folder: str, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the relative paths, in parts, of the files in a folder and below, through links too.

    A link that leads nowhere counts as a file, so that whoever reads it names it.

    Args:
        folder: The folder.
        above: Real paths of the folders through which the search came here.

    Raises:
        InputError: A link leads to a folder that it lies in, or through other links to one: its
            files would be found again and again.
    """
    above = (*above, osp.realpath(folder))
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir():
                if entry.name.startswith('.'):
                    continue
                if entry.is_symlink():
                    target = osp.realpath(entry.path)
                    if target in above or osp.commonpath([target, above[-1]]) == target:
                        raise InputError(f'{entry.path}: this link leads back to {target}, which '
                                         'contains it, so the search would never end: '
                                         'remove it')
                yield from ((entry.name, *parts) for parts in files_below(entry.path, above))
            elif entry.is_file() or entry.is_symlink():
                yield (entry.name, )
