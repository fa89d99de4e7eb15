"""The list of images that could not be read, shared by workers, processes and resumed runs."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from amt_mm.errors import InputError

# Seconds between two looks at what other processes have found.
_LOOK = 10.0
_MOST_NAMES = 3
_REASON_CHARACTERS = 200
_ESCAPES = str.maketrans({'\\': r'\\', '\t': r'\t', '\n': r'\n', '\r': r'\r'})


class BadImages:
    """Images that could not be read: each once, in a file that a run leaves behind.

    A line has the sample's index, its name and the reason, parted by tabs. Each process of
    a group has a file of its own in ``folder``, to which its workers append under a lock;
    all read all of them, so that the number is that of the whole run as far as processes
    see the same folder. A resumed run reads them too, and does not try these images again;
    without the files it does.

    Args:
        folder: Of the run; made if need be.
        names: Name of a sample by its index, None where there is no such sample. A line
            whose name is another one, of another data set, does not count.
        samples: Number of images of the data set.
        max_bad: Share of the data set past which the run stops. Defaults to .01.
        rank: Of this process.

    Raises:
        InputError: ``max_bad`` is no share.
    """

    def __init__(self, folder: str | os.PathLike, names: Callable[[int], str | None], samples: int,
                 max_bad: float = 0.01, rank: int = 0) -> None:
        if not 0 <= max_bad <= 1:
            raise InputError(f'max_bad={max_bad}: give a share of the data set, from 0 to 1')
        self.folder, self.samples, self.max_bad = Path(folder), samples, max_bad
        self.path = self.folder / f'bad_images_rank{rank}.txt'
        self._names = names
        self._known: dict[int, str] = {}
        self._read: dict[Path, int] = {}
        self._looked = -_LOOK

    def __contains__(self, index: int) -> bool:
        """Whether a sample could not be read before, by anyone a few seconds ago."""
        if time.monotonic() - self._looked > _LOOK:
            self.look()
        return index in self._known

    def __len__(self) -> int:
        """Number of images; one that several indices share counts once."""
        return len(set(self._known.values()))

    def names(self) -> list[str]:
        """Their names, in the order in which they were found or read."""
        return list(dict.fromkeys(self._known.values()))

    def look(self) -> None:
        """Read what was added by others."""
        self._looked = time.monotonic()
        for path in sorted(self.folder.glob('bad_images_rank*.txt')):
            done = self._read.get(path, 0)
            if path.stat().st_size < done:
                done = 0
            with open(path, 'rb') as file:
                file.seek(done)
                # The last line may be half written; it has no end then.
                lines, _, _ = file.read().rpartition(b'\n')
            self._read[path] = done + len(lines) + bool(lines)
            for line in lines.split(b'\n'):
                self._take(line.decode('utf-8', 'surrogateescape').split('\t'))

    def add(self, index: int, reason: str) -> None:
        """Enter an image.

        Args:
            index: Of the sample.
            reason: Why it cannot be read; the first line of it is kept.

        Raises:
            InputError: More than ``max_bad`` of the data set are bad now.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.path, 'ab+') as file:
            # Where a file system has no locks, two workers may enter one image: it counts once.
            with suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX)
            self.look()
            if index not in self._known:
                name = self._names(index).translate(_ESCAPES)
                reason = ' '.join(reason.split())[:_REASON_CHARACTERS]
                line = f'{index}\t{name}\t{reason}\n'.encode('utf-8', 'surrogateescape')
                file.write(line if self._ends_whole(file) else b'\n' + line)
                file.flush()
                self._known[index] = name
        self.check()

    def check(self) -> None:
        """Refuse to go on past the limit.

        Raises:
            InputError: More than ``max_bad`` of the data set are bad.
        """
        count = len(self)
        if count > self.max_bad * self.samples:
            names = self.names()
            more = ', ...' if count > _MOST_NAMES else ''
            raise InputError(
                f'{count} of {self.samples} images cannot be read, more than max_bad='
                f'{self.max_bad:g} allows: {", ".join(names[:_MOST_NAMES])}{more} (reasons in '
                f'{self.path.parent}/bad_images_rank*.txt); mend the data set and remove these '
                'files, or raise default_hooks.bad_images.max_bad')

    def _take(self, fields: list[str]) -> None:
        if len(fields) != 3 or not fields[0].isdecimal():
            return
        index, name = int(fields[0]), fields[1]
        own = None if index in self._known else self._names(index)
        if own is not None and own.translate(_ESCAPES) == name:
            self._known[index] = name

    @staticmethod
    def _ends_whole(file: BinaryIO) -> bool:
        """Whether the file ends with a line's end: a process may be killed while it writes."""
        if file.seek(0, os.SEEK_END) == 0:
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b'\n'
