"""What is wrong with an annotation file, and what was repaired while reading it."""

from __future__ import annotations

import reprlib
from collections import defaultdict
from collections.abc import Sequence

from amt_mm.errors import InputError

MOST_FAULTS = 10
MOST_IDS = 5


class Findings:
    """Faults that stop a run, and harmless ones that were repaired in memory.

    Args:
        path: Annotation file, for the messages.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._faults: list[str] = []
        self._count = 0
        self._repaired: dict[str, list[object]] = defaultdict(list)

    def fault(self, entry: str, what: str) -> None:
        """Note a fault of an entry, such as ``'object 7 of image 2'``."""
        self._count += 1
        if self._count <= MOST_FAULTS:
            self._faults.append(f'{entry}: {what}')

    def repaired(self, what: str, entry_id: object) -> None:
        """Note what was changed in memory."""
        self._repaired[what].append(entry_id)

    def stop_at_faults(self) -> None:
        """Name up to ten faults.

        Raises:
            InputError: There are faults.
        """
        if self._count:
            more = self._count - len(self._faults)
            raise InputError(f'annotation file {self.path}: {"; ".join(self._faults)}'
                             + (f'; and {more} more faults' if more else ''))

    def note(self) -> str | None:
        """Return one line on what was repaired, None if nothing was."""
        if not self._repaired:
            return None
        changes = '; '.join(f'{what}: {format_ids(ids)}' for what, ids in self._repaired.items())
        return f'annotation file {self.path}: repaired in memory, not in the file: {changes}'


def format_ids(ids: Sequence[object]) -> str:
    """Return a count and the first ids, ``'7 (id 1, 2, 3, 4, 5, ...)'``."""
    more = ', ...' if len(ids) > MOST_IDS else ''
    return f'{len(ids)} (id {", ".join(map(str, ids[:MOST_IDS]))}{more})'


def shown(value: object) -> str:
    """Return a value from the file in a few characters of one line."""
    return reprlib.repr(value)
