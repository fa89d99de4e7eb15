"""Fetching a large file over HTTP: resumed where it stopped, and verified."""

from __future__ import annotations

import hashlib
import re
import sys
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from amt_mm.errors import InputError

_BLOCK = 1 << 20
# Seconds without a byte until a connection counts as lost.
_TIMEOUT = 60


def byte_progress() -> Progress:
    """A bar on standard error with amount, speed and time left; silent where it is a file."""
    return Progress(
        TextColumn('{task.description}'), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        TimeRemainingColumn(), console=Console(stderr=True), transient=True,
        disable=not sys.stderr.isatty())


def fetch(url: str, path: Path, size: int, md5: str) -> None:
    """Fetch a file, going on from ``<path>.part`` where an earlier call stopped.

    ``path`` appears only when its content is verified. A server that ignores
    ranges is read from the start again.

    Args:
        url: ``http://`` or ``https://`` address.
        path: Where the file is to be.
        size: Its size in bytes.
        md5: Its checksum.

    Raises:
        InputError: No connection, an answer other than the file, a connection
            lost on the way (what has come is kept), or a wrong checksum (what
            has come is deleted).
    """
    if not url.startswith(('http://', 'https://')):
        raise InputError(f'{url}: give an address that starts with http:// or https://, or a file '
                         'by --archive')
    part = path.with_name(f'{path.name}.part')
    there = part.stat().st_size if part.exists() else 0
    # A part that is too long is of another file: start over.
    if there != size:
        _receive(url, part, there if there < size else 0, size)
    try:
        verify(part, md5)
    except InputError as error:
        part.unlink()
        raise InputError(f'{url}: {error}; it was deleted, run the same command again or give '
                         'another address by --url') from error
    part.replace(path)


def _receive(url: str, part: Path, there: int, size: int) -> None:
    """Append what is missing of ``part``, from byte ``there`` on."""
    headers = {'User-Agent': 'amt_mm', 'Accept-Encoding': 'identity'}
    if there:
        headers['Range'] = f'bytes={there}-'
    with _open(Request(url, headers=headers)) as response:
        if response.status == 206 and not _starts_at(response, there):
            raise InputError(f'{url}: the server answers with another part of the file than was '
                             f'asked for; delete {part} and run the same command again')
        if response.status != 206:
            there = 0
        offered = there + int(response.headers.get('Content-Length', size - there))
        if offered != size:
            raise InputError(f'{url}: has {offered} bytes, where {size} are expected: it is '
                             'another file; give another address by --url')
        # Nothing of an earlier attempt is lost before the server has answered.
        with part.open('ab' if there else 'wb') as file, byte_progress() as progress:
            task = progress.add_task(f'Fetching {part.stem}', total=size, completed=there)
            while there <= size and (block := _read(response)):
                file.write(block)
                there += len(block)
                progress.update(task, completed=there)
    if there > size:
        raise InputError(f'{url}: goes on after the {size} bytes expected: it is another file; '
                         'give another address by --url')
    if there < size:
        raise InputError(f'{url}: the connection was lost after {there} of {size} bytes; run the '
                         'same command again, it goes on from there')


def _open(request: Request) -> HTTPResponse:
    try:
        return urlopen(request, timeout=_TIMEOUT)
    except HTTPError as error:
        raise InputError(f'{request.full_url}: the server answers {error.code} {error.reason}; try '
                         'again later, or give another address by --url') from error
    except (URLError, HTTPException, OSError) as error:
        reason = getattr(error, 'reason', error)
        raise InputError(f'{request.full_url}: no connection ({reason}); check the network, or '
                         'fetch the file elsewhere and give it by --archive') from error


def _starts_at(response: HTTPResponse, start: int) -> bool:
    found = re.match(r'bytes (\d+)-', response.headers.get('Content-Range', ''))
    return found is not None and int(found[1]) == start


def _read(response: HTTPResponse) -> bytes:
    """The next block; empty at the end, and where the connection is lost."""
    try:
        # `read` would hold back what has come until the whole block has.
        return response.read1(_BLOCK)
    except (HTTPException, OSError):
        return b''


def verify(path: Path, md5: str) -> None:
    """Compare a file's checksum.

    Args:
        path: The file.
        md5: The checksum expected, in hexadecimal digits.

    Raises:
        InputError: The file is missing, or another one.
    """
    if not path.is_file():
        raise InputError(f'{path}: there is no such file')
    digest = hashlib.md5(usedforsecurity=False)
    with path.open('rb') as file, byte_progress() as progress:
        task = progress.add_task(f'Checking {path.name}', total=path.stat().st_size)
        while block := file.read(_BLOCK):
            digest.update(block)
            progress.advance(task, len(block))
    if digest.hexdigest() != md5:
        raise InputError(f'{path}: its md5 is {digest.hexdigest()}, where {md5} is expected: '
                         'damaged, or another file')
