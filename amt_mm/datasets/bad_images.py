"""List of unreadable images, shared by workers, processes and resumed runs."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from amt_mm.checks import is_index
from amt_mm.errors import InputError
from amt_mm.links import no_link

# Seconds between reads of what other processes found.
_INTERVAL = 10.0
_MOST_NAMES = 3
_REASON_CHARACTERS = 200
_ESCAPES = str.maketrans({'\\': r'\\', '\t': r'\t', '\n': r'\n', '\r': r'\r'})


class BadImages:
    """Unreadable images, each recorded once in a file in the work directory.

    A line holds sample index, name and reason, separated by tabs. Each process has its own file
    in ``folder``, to which its workers append under a lock; all processes read all files, so
    the count covers the whole run if they share the folder. A resumed run does not try the
    listed images again.

    Args:
        folder: Of the files, created if missing.
        names: Maps a sample index to its name, None if there is no such sample. Lines with
            another name, from another data set, are ignored.
        samples: Number of images in the data set.
        max_bad: Fraction of the data set above which the run stops. Defaults to .01.
        rank: Of this process.

    Raises:
        InputError: ``max_bad`` is not in [0, 1].
    """

    def __init__(self, folder: str | os.PathLike, names: Callable[[int], str | None], samples: int,
                 max_bad: float = 0.01, rank: int = 0) -> None:
        if not 0 <= max_bad <= 1:
            raise InputError(f'max_bad={max_bad}: must be a fraction of the data set, in [0, 1]')
        self.folder, self.samples, self.max_bad = Path(folder), samples, max_bad
        self.rank = rank
        self.path = self.folder / f'bad_images_rank{rank}.txt'
        self._names = names
        self._known: dict[int, str] = {}
        self._offsets: dict[Path, int] = {}
        self._last_read = -_INTERVAL

    def __contains__(self, index: int) -> bool:
        """Whether the image is known to be unreadable, up to a few seconds ago."""
        if time.monotonic() - self._last_read > _INTERVAL:
            self.read_new()
        return index in self._known

    def __len__(self) -> int:
        """Number of images; one under several indices counts once."""
        return len(set(self._known.values()))

    def names(self) -> list[str]:
        """Return their names in the order in which they were found or read."""
        return list(dict.fromkeys(self._known.values()))

    def read_new(self) -> None:
        """Read the lines that other processes added."""
        self._last_read = time.monotonic()
        for path in sorted(self.folder.glob('bad_images_rank*.txt')):
            done = self._offsets.get(path, 0)
            if path.stat().st_size < done:
                done = 0
            with open(path, 'rb') as file:
                file.seek(done)
                # The last line may be incomplete.
                lines, _, _ = file.read().rpartition(b'\n')
            self._offsets[path] = done + len(lines) + bool(lines)
            for line in lines.split(b'\n'):
                self._add_line(line.decode('utf-8', 'surrogateescape').split('\t'))

    def add(self, index: int, reason: str) -> None:
        """Record an image.

        Args:
            index: Of the sample.
            reason: Why it cannot be read; truncated.

        Raises:
            InputError: More than ``max_bad`` of the data set are unreadable, or the file is a
                symbolic link.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.path, 'ab+', opener=no_link) as file:
            # Without file locks two workers may both record an image: it still counts once.
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            self.read_new()
            if index not in self._known:
                name = self._names(index).translate(_ESCAPES)
                reason = ' '.join(reason.split())[:_REASON_CHARACTERS]
                line = f'{index}\t{name}\t{reason}\n'.encode('utf-8', 'surrogateescape')
                file.write(line if self._ends_with_newline(file) else b'\n' + line)
                file.flush()
                self._known[index] = name
        self.check()

    def check(self) -> None:
        """Enforce the limit.

        Raises:
            InputError: More than ``max_bad`` of the data set are unreadable.
        """
        count = len(self)
        if count > self.max_bad * self.samples:
            names = self.names()
            more = ', ...' if count > _MOST_NAMES else ''
            raise InputError(
                f'{count} of {self.samples} images are unreadable, more than max_bad='
                f'{self.max_bad:g} allows: {", ".join(names[:_MOST_NAMES])}{more} (reasons in '
                f'{self.path.parent}/bad_images_rank*.txt); fix the data set and delete these '
                'files, or raise default_hooks.bad_images.max_bad')

    def _add_line(self, fields: list[str]) -> None:
        if len(fields) != 3 or not is_index(fields[0]):
            return
        index, name = int(fields[0]), fields[1]
        own = None if index in self._known else self._names(index)
        if own is not None and own.translate(_ESCAPES) == name:
            self._known[index] = name

    @staticmethod
    def _ends_with_newline(file: BinaryIO) -> bool:
        """Whether the last line is complete: the writer may have been killed."""
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        return file.read(1) in (b'', b'\n')
