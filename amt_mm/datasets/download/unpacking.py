"""Unpacking an archive: nothing outside its folder, and the whole of it or nothing."""

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

from amt_mm.errors import InputError

from .fetching import byte_progress

# What a sound archive unpacks to: so many times its size, on top of a small one's worth. Images
# hardly shrink; a bomb of zeros unpacks to a thousand times.
_TIMES = 100
_SMALL = 1 << 26
# As what a member counts besides its bytes: each is a file, or a folder, on the disk.
_MEMBER = 1 << 10
# What the readers raise on damaged bytes.
_DAMAGE = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError)


def unpack(archive: Path, folder: str, root: Path) -> None:
    """Unpack one folder of a tar or zip archive to ``root/folder``.

    Every member is written by its bytes alone: no links, devices, owners or
    permissions. What lies in the archive beside ``folder`` is left out.

    Args:
        archive: A ``.zip``, or a ``.tar`` with whatever compression.
        folder: Name of the archive's folder; must not be in ``root`` yet.
        root: Where the folder is to be.

    Raises:
        InputError: The archive is damaged, has no such folder, or a member of
            it is a link or device, would be written elsewhere, or over one that is
            there; or it unpacks to more than 100 times its size.
    """
    left = _TIMES * archive.stat().st_size + _SMALL
    with staging(root / folder) as target, open_archive(archive) as file:
        members = _zip_members if zipfile.is_zipfile(archive) else tar_members
        for name, content in members(file):
            parts = member_parts(name)
            if parts[0] == folder:
                left -= _MEMBER + write_member(target.joinpath(*parts[1:]), content, left)
            if left < 0:
                raise InputError(f'{archive}: unpacks to more than {_TIMES} times its size: it is '
                                 'no archive of images, and not unpacked')
        if not any(target.iterdir()):
            raise InputError(f'{archive}: has no folder {folder}: it is another file')


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """A folder beside ``folder`` that takes its place when all has gone well.

    What an interrupted run has left of it is removed.
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
    """Open an archive with a bar that follows the reading; damage is an :class:`InputError`."""
    with byte_progress() as progress:
        try:
            with progress.open(archive, 'rb', description=f'Unpacking {archive.name}') as file:
                yield file
        except _DAMAGE as error:
            # tarfile lists, line by line, what else the file is not.
            reason = str(error).partition('\n')[0].rstrip(':')
            raise InputError(f'{archive}: damaged ({reason or type(error).__name__}); delete it '
                             'and fetch it again') from error


def tar_members(file: BinaryIO) -> Iterator[tuple[str, BinaryIO | None]]:
    """Names and contents of a tar archive in their order; the content of a folder is None."""
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
    """Parts of a member's relative path.

    Raises:
        InputError: The path is absolute or leaves its folder, read as on any system, or is
            none (a zero byte).
    """
    # Windows' reading is the strictest: both slashes, drives, hosts.
    path = PureWindowsPath(name)
    if path.anchor or '..' in path.parts or not path.parts or '\0' in name:
        raise InputError(f'member {name!r} of the archive lies outside its folder: it is not '
                         'unpacked')
    return path.parts


def write_member(path: Path, content: BinaryIO | None, most: float = math.inf) -> int:
    """Write a file, or make a folder where ``content`` is None.

    Args:
        path: Where to.
        content: Of the file.
        most: Bytes after which writing stops; a little more is written then.

    Returns:
        Bytes written.

    Raises:
        InputError: A file stands where a folder is to be, or a folder for a file; or the
            name is too long.
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
