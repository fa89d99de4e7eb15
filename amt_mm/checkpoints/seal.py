"""A digest of a whole checkpoint file, stored in the file itself.

A zip archive has checksums for tensor values but not for its own entries: one flipped bit there
can make torch return uninitialised memory. So the file ends with the SHA-256 of everything before
it, as the archive's comment, which torch and zip tools ignore.
"""

from __future__ import annotations

import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from amt_mm.errors import InputError

_MARK = b'amt_mm sha256 '
_DIGITS = 64
_COMMENT = len(_MARK) + _DIGITS
# Last record of a zip archive; its last two bytes give the length of the comment that follows.
_END, _END_BYTES = b'PK\x05\x06', 22
_BLOCK = 2**20


def seal(path: str | os.PathLike) -> None:
    """Append the digest to a file that ``torch.save`` has just written.

    Args:
        path: A zip archive without a comment. Other files are left alone.
    """
    with open(path, 'r+b') as file:
        if not _ends_plainly(_tail(file, _END_BYTES)):
            return
        file.seek(-2, os.SEEK_END)
        file.write(_COMMENT.to_bytes(2, 'little') + _MARK)
        length = file.tell()
        file.write(_digest(file, length))


def check_seal(path: str | os.PathLike) -> bool:
    """Compare a file with its digest; cached while its size and modification time do not change.

    Returns:
        True if the file is sealed and intact, False if it was never sealed.

    Raises:
        InputError: The file is a zip archive that was changed, truncated or extended.
    """
    status = os.stat(path)
    reason, sealed = _examine(os.fspath(path), status.st_ino, status.st_size, status.st_mtime_ns)
    if reason:
        raise damaged(path, reason)
    return sealed


def damaged(path: str | os.PathLike, reason: str) -> InputError:
    """The error for a damaged checkpoint."""
    path = Path(path)
    size = path.stat().st_size if path.is_file() else 0
    return InputError(f'{path}: the checkpoint is damaged or truncated ({size} bytes; '
                      f'{" ".join(reason.split())[:120]})')


@lru_cache(maxsize=16)
def _examine(path: str, inode: int, size: int, changed: int) -> tuple[str, bool]:
    """Why the file is damaged ('' if it is not), and whether it is sealed."""
    with open(path, 'rb') as file:
        tail = _tail(file, _END_BYTES + _COMMENT)
        end, comment = tail[:_END_BYTES], tail[_END_BYTES:]
        if (end.startswith(_END) and comment.startswith(_MARK)
                and end[-2:] == _COMMENT.to_bytes(2, 'little')):
            intact = _digest(file, size - _DIGITS) == comment[len(_MARK):]
            return ('' if intact else 'its digest differs'), True
        file.seek(0)
        # A sealed file whose digest was cut off must not pass as unsealed.
        archive = file.read(2) == b'PK'
        plain = _ends_plainly(tail[-_END_BYTES:])
        return ('its end is not that of a checkpoint' if archive and not plain else ''), False


def _ends_plainly(end: bytes) -> bool:
    return len(end) == _END_BYTES and end.startswith(_END) and end[-2:] == b'\0\0'


def _tail(file: BinaryIO, length: int) -> bytes:
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - length))
    return file.read()


def _digest(file: BinaryIO, length: int) -> bytes:
    """Hexadecimal SHA-256 of the first ``length`` bytes."""
    file.seek(0)
    digest = hashlib.sha256()
    while length > 0 and (block := file.read(min(_BLOCK, length))):
        digest.update(block)
        length -= len(block)
    return digest.hexdigest().encode()
