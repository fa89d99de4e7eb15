"""Find the files of a folder."""

from __future__ import annotations

import errno
import os
import os.path as osp
from collections import Counter
from collections.abc import Iterator

from amt_mm.errors import InputError

# Ways through links into one folder: a few dozen folders with two links each to the next one have
# more ways than a search could ever go.
_MOST_WAYS = 100


def files_below(folder: str) -> Iterator[tuple[str, ...]]:
    """Yield the relative paths, in parts, of the files in a folder and below, through links too.

    A link that leads nowhere counts as a file, so that whoever reads it names it; pipes and
    devices do not, since reading them never ends.

    Args:
        folder: The folder.

    Raises:
        InputError: A folder may not be read; a link leads to a folder that it lies in, or through
            other links to one: its files would be found again and again; or links lead to a folder
            in very many ways.
    """
    ways: Counter[str] = Counter()
    # Path, its parts below the folder, its real path after those of the folders that led to it. No
    # recursion, for which folders may lie too deep.
    left: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = [
        (folder, (), (osp.realpath(folder), ))]
    while left:
        path, parts, way = left.pop()
        ways[way[-1]] += 1
        if ways[way[-1]] > _MOST_WAYS:
            raise InputError(f'{path}: links lead to {way[-1]} in more than {_MOST_WAYS} ways, '
                             'so the search might never end: remove some')
        try:
            entries = os.scandir(path)
        except PermissionError as error:
            raise InputError(f'{path}: may not be read, so images in it would be missed: get the '
                             'right to read it, or give a folder without it') from error
        with entries:
            for entry in entries:
                try:
                    is_folder = entry.is_dir()
                except OSError as error:
                    # A link to itself leads nowhere, too.
                    if error.errno != errno.ELOOP:
                        raise
                    yield (*parts, entry.name)
                    continue
                if is_folder:
                    if entry.name.startswith('.'):
                        continue
                    real = (_target(entry.path, way) if entry.is_symlink() else
                            osp.join(way[-1], entry.name))
                    left.append((entry.path, (*parts, entry.name), (*way, real)))
                elif entry.is_file() or entry.is_symlink() and not osp.exists(entry.path):
                    yield (*parts, entry.name)


def _target(link: str, way: tuple[str, ...]) -> str:
    """Return the real path of a link to a folder, unless that is on the way to it."""
    target = osp.realpath(link)
    if target in way or osp.commonpath([target, way[-1]]) == target:
        raise InputError(f'{link}: this link leads back to {target}, which contains it, so the '
                         'search would never end: remove it')
    return target
