"""Unpack archives completely or not at all, and never outside the target folder."""

from __future__ import annotations

import errno
import gzip
import math
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import BinaryIO

from tqdm.utils import CallbackIOWrapper

from amt_mm.errors import InputError

from .fetching import byte_progress

# Limit of the unpacked size: a multiple of the archive's, plus an allowance for small ones. Images
# barely compress, whereas a bomb of zeros expands a thousandfold.
_TIMES = 100
_SMALL = 1 << 26
# Bytes counted per member besides its content: each is a file or folder on the disk.
_MEMBER = 1 << 10
# Raised by the readers on damaged data.
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError)


def unpack(archive: Path, folder: str, root: Path) -> None:
    """Unpack one folder of a tar or zip archive to ``root/folder``.

    Only the bytes of members are written: no links, devices, owners or permissions. Members
    outside ``folder`` are skipped.

    Args:
        archive: ``.zip``, or ``.tar`` with any compression.
        folder: Name of the folder in the archive; must not exist in ``root``.
        root: Parent of the new folder.

    Raises:
        InputError: The archive is damaged, has no such folder, unpacks to more than 100 times
            its size, or a member is a link or device, lies outside or collides with another.
    """
    left = most_unpacked(archive.stat().st_size)
    with staging(root / folder) as target, open_archive(archive) as file:
        members = _zip_members if zipfile.is_zipfile(archive) else tar_members
        for name, content in members(file):
            parts = member_parts(name)
            if parts[0] == folder:
                left -= _MEMBER + write_member(target.joinpath(*parts[1:]), content, left)
            if left < 0:
                raise InputError(f'{archive}: unpacks to more than {_TIMES} times its size, so it '
                                 'is not an archive of images: not unpacked')
        if not any(target.iterdir()):
            raise InputError(f'{archive}: has no folder {folder}: it is another archive')


def most_unpacked(size: int) -> int:
    """Limit of the bytes that a compressed file of this size may unpack to."""
    return _TIMES * size + _SMALL


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Yield a folder next to ``folder`` that replaces it on success.

    Leftovers of an interrupted run are removed.
    """
    partial = folder.with_name(f'.{folder.name}.partial')
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def open_archive(archive: Path) -> Iterator[BinaryIO]:
    """Open an archive with a progress bar; damage is an :class:`InputError`."""
    with (archive.open('rb') as file,
          byte_progress(f'Unpacking {archive.name}', archive.stat().st_size) as progress):
        try:
            yield CallbackIOWrapper(progress.update, file, 'read')
        except _DAMAGE as error:
            # tarfile lists one line per format that it tried.
            reason = str(error).partition('\n')[0].rstrip(':')
            raise InputError(f'{archive}: damaged ({reason or type(error).__name__}); delete it '
                             'and download it again') from error


def tar_members(file: BinaryIO) -> Iterator[tuple[str, BinaryIO | None]]:
    """Yield names and contents of a tar archive in order; the content of a folder is None."""
    with tarfile.open(fileobj=file, mode='r:*') as tar:
        for member in tar:
            if not member.isfile() and not member.isdir():
                raise InputError(f'member {member.name!r} of the archive is a link or device: '
                                 'it is not unpacked')
            yield member.name, tar.extractfile(member)


def _zip_members(file: BinaryIO) -> Iterator[tuple[str, BinaryIO | None]]:
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            if stat.S_ISLNK(info.external_attr >> 16):
                raise InputError(f'member {info.filename!r} of the archive is a link or device: '
                                 'it is not unpacked')
            if info.is_dir():
                yield info.filename, None
            else:
                with archive.open(info) as content:
                    yield info.filename, content


def member_parts(name: str) -> tuple[str, ...]:
    """Split the relative path of a member into parts.

    Raises:
        InputError: The path is absolute, leaves the folder on any operating system, or holds a
            zero byte.
    """
    # Windows rules are the strictest: both slashes, drives, hosts.
    path = PureWindowsPath(name)
    if path.anchor or '..' in path.parts or not path.parts or '\0' in name:
        raise InputError(f'member {name!r} of the archive lies outside its folder: it is not '
                         'unpacked')
    return path.parts


def write_member(path: Path, content: BinaryIO | None, most: float = math.inf) -> int:
    """Write a file, or create a folder if ``content`` is None.

    Args:
        path: Destination.
        content: Of the file.
        most: Number of bytes after which writing stops, rounded up to a block.

    Returns:
        Number of bytes written.

    Raises:
        InputError: A file and a folder have the same path, or the name is too long.
    """
    written = 0
    try:
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
            return 0
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open('wb') as file:
            while written <= most and (block := content.read(1 << 20)):
                written += file.write(block)
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise InputError(f'{path}: the archive has a file and a folder of this name: it is not '
                         'unpacked') from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise InputError(f'{path.name[:40]}... of the archive is a name of {len(str(path))} '
                         'characters with its folder, more than the system takes: it is not '
                         'unpacked') from error
    return written
