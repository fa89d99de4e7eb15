"""Resumable, verified HTTP download of large files."""

from __future__ import annotations

import hashlib
import re
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from tqdm import tqdm

from amt_mm.errors import InputError
from amt_mm.links import no_link

_BLOCK = 1 << 20
# Seconds without data after which a connection counts as lost.
_TIMEOUT = 60


def byte_progress(title: str, total: int, done: int = 0) -> tqdm:
    """Progress bar on standard error with amount, speed and time left; silent if not a terminal."""
    return tqdm(desc=title, total=total, initial=done, unit='B', unit_scale=True, leave=False,
                disable=None)


def fetch(url: str, path: Path, size: int, md5: str) -> None:
    """Download a file, resuming from ``<path>.part`` of an earlier call.

    ``path`` appears only after verification. If the server does not support ranges, the download
    starts over.

    Args:
        url: ``http://`` or ``https://`` address.
        path: Destination.
        size: Expected size in bytes.
        md5: Expected checksum.

    Raises:
        InputError: No connection, an unexpected response, a lost connection (what was received
            is kept), or a wrong checksum (what was received is deleted).
    """
    if not url.startswith(('http://', 'https://')):
        raise InputError(f'{url}: the address must start with http:// or https://; pass files by '
                         '--archive')
    part = path.with_name(f'{path.name}.part')
    there = part.stat().st_size if part.exists() else 0
    # A partial file that is too long belongs to another file: start over.
    if there != size:
        _receive(url, part, there if there < size else 0, size)
    try:
        verify(part, md5)
    except InputError as error:
        part.unlink()
        raise InputError(f'{url}: {error}; it was deleted, run the command again or pass '
                         'another address with --url') from error
    part.replace(path)


def _receive(url: str, part: Path, there: int, size: int) -> None:
    """Append what ``part`` lacks, from byte ``there`` on."""
    headers = {'User-Agent': 'amt_mm', 'Accept-Encoding': 'identity'}
    if there:
        headers['Range'] = f'bytes={there}-'
    with _open(Request(url, headers=headers)) as response:
        if response.status == 206 and not _starts_at(response, there):
            raise InputError(f'{url}: the server sent a byte range that was not requested; '
                             f'delete {part} and run the command again')
        if response.status != 206:
            there = 0
        offered = there + int(response.headers.get('Content-Length', size - there))
        if offered != size:
            raise InputError(f'{url}: has {offered} bytes instead of {size}, so it is another '
                             'file; pass another address with --url')
        # Opened after the response, which keeps an earlier part if the request fails.
        with (open(part, 'ab' if there else 'wb', opener=no_link) as file,
              byte_progress(f'Fetching {part.stem}', size, there) as progress):
            while there <= size and (block := _read(response)):
                file.write(block)
                there += len(block)
                progress.update(len(block))
    if there > size:
        raise InputError(f'{url}: has more than {size} bytes, so it is another file; pass another '
                         'address with --url')
    if there < size:
        raise InputError(f'{url}: the connection was lost after {there} of {size} bytes; run the '
                         'command again to resume')


def _open(request: Request) -> HTTPResponse:
    try:
        return urlopen(request, timeout=_TIMEOUT)
    except HTTPError as error:
        raise InputError(f'{request.full_url}: the server responds {error.code} {error.reason}; '
                         'try again later, or pass another address with --url') from error
    except (URLError, HTTPException, OSError) as error:
        reason = getattr(error, 'reason', error)
        raise InputError(f'{request.full_url}: no connection ({reason}); check the network, or '
                         'download the file elsewhere and pass it with --archive') from error


def _starts_at(response: HTTPResponse, start: int) -> bool:
    found = re.match(r'bytes (\d+)-', response.headers.get('Content-Range', ''))
    return found is not None and int(found[1]) == start


def _read(response: HTTPResponse) -> bytes:
    """Read the next block; empty at the end and when the connection is lost."""
    try:
        # `read` would wait for the whole block.
        return response.read1(_BLOCK)
    except (HTTPException, OSError):
        return b''


def verify(path: Path, md5: str) -> None:
    """Verify the md5 checksum of a file, given in hexadecimal digits.

    Raises:
        InputError: The file is missing, or its checksum differs.
    """
    if not path.is_file():
        raise InputError(f'{path}: does not exist')
    digest = hashlib.md5(usedforsecurity=False)
    with (path.open('rb') as file,
          byte_progress(f'Checking {path.name}', path.stat().st_size) as progress):
        while block := file.read(_BLOCK):
            digest.update(block)
            progress.update(len(block))
    if digest.hexdigest() != md5:
        raise InputError(f'{path}: its md5 is {digest.hexdigest()} instead of {md5}: it is '
                         'damaged or another file')
