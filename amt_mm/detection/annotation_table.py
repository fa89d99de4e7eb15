"""One section of an annotation file, checked field by field over all entries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from itertools import repeat

from .annotation_faults import Findings, shown

# Whole numbers up to here are exact in every reader of JSON.
LARGEST_ID = 2**53
# Entries of a part, 2 MB of objects with polygons: all checks find them in the processor's cache,
# whereas each pass over a whole section waits for memory.
_PART = 2000


class Table:
    """The entries of one section.

    Checks look at the set of types and at the extremes of a whole field, which takes tens of
    nanoseconds per entry; entries are looked at one by one only if that finds something.

    Args:
        section: Name in the file.
        noun: Of an entry, for the messages.
        entries: The list in the file; whole numbers written in another way are repaired in place.
        findings: Receives faults and changes.
    """

    def __init__(self, section: str, noun: str, entries: list, findings: Findings) -> None:
        self._section, self._noun, self._findings = section, noun, findings
        self._faulty: set[int] = set()
        self._columns: dict[str, list] = {}
        self.entries = entries
        if not set(map(type, entries)) <= {dict}:
            for number, entry in enumerate(entries):
                if not isinstance(entry, dict):
                    findings.fault(f'`{section}`[{number}]', f'{shown(entry)} is not an object')
            self.entries = [entry for entry in entries if isinstance(entry, dict)]

    def parts(self) -> Iterator[Table]:
        """Divide the entries into tables of few, for checks that need no others."""
        faulty = defaultdict(set)
        for row in self._faulty:
            faulty[row // _PART].add(row % _PART)
        for number, start in enumerate(range(0, len(self.entries), _PART)):
            part = Table(self._section, self._noun, self.entries[start:start + _PART],
                         self._findings)
            part._faulty = faulty[number]
            yield part

    def column(self, field: str) -> list:
        """Return the values of a field over all entries, None where it is missing."""
        if field not in self._columns:
            self._columns[field] = list(map(dict.get, self.entries, repeat(field)))
        return self._columns[field]

    def at(self, field: str, rows: Sequence[int]) -> list:
        """Return the values of a field at some positions."""
        column = self.column(field)
        return column if len(rows) == len(column) else [column[row] for row in rows]

    def set(self, row: int, field: str, value: object) -> None:
        """Change a field of the entry at a position, in memory."""
        self.entries[row][field] = self.column(field)[row] = value

    def whole(self, field: str, low: int, high: int, optional: bool = False) -> None:
        """Require whole numbers in ``low..high``.

        A whole number written as text (``"7"``), with a decimal point (``7.0``) or, where 0 and 1
        are all there is, as true or false, is repaired. Optional fields may be missing or null.
        """
        values = self.column(field)
        if set(map(type, values)) <= {int} and (
                not values or low <= min(values) and max(values) <= high):
            return
        for row, value in enumerate(values):
            if value is None and optional:
                continue
            whole = _whole(value, booleans=(low, high) == (0, 1))
            if whole is None or not low <= whole <= high:
                self.fault(row, f'`{field}` {self._shown(row, field)} is not a whole number from '
                                f'{low} to {high}')
            elif type(value) is not int:
                self.set(row, field, whole)
                self._findings.repaired(f'`{field}` of {self._noun} not written as a whole number',
                                      self.column('id')[row])

    def text(self, field: str, choices: Collection[str] = ()) -> None:
        """Require text that is not empty, or one of ``choices``."""
        values = self.column(field)
        if set(map(type, values)) <= {str} and (
                set(values) <= set(choices) if choices else '' not in values):
            return
        wanted = f'one of {", ".join(choices)}' if choices else 'text'
        for row, value in enumerate(values):
            if type(value) is not str or (value not in choices if choices else not value):
                self.fault(row, f'`{field}` {self._shown(row, field)} is not {wanted}')

    def unique(self, field: str) -> None:
        """Require that no value occurs twice."""
        values = self.column(field)
        if not self._faulty and len(set(values)) == len(values):
            return
        first: dict[object, str] = {}
        for row in self.rows():
            if values[row] in first:
                self.fault(row, f'`{field}` {shown(values[row])} is also that of '
                                f'{first[values[row]]}')
            else:
                first[values[row]] = self._name(row)

    def refers(self, field: str, known: Collection[int], section: str) -> None:
        """Require that a field holds an id of another section."""
        values = self.column(field)
        if not self._faulty and set(values) <= known:
            return
        for row in self.rows():
            if values[row] not in known:
                self.fault(row, f'`{field}` {values[row]} is not in `{section}`')

    def lists_ids(self, field: str, known: Collection[int], section: str) -> None:
        """Require a list of ids of another section."""
        for row, value in enumerate(self.column(field)):
            if type(value) is not list:
                self.fault(row, f'`{field}` {self._shown(row, field)} is not a list')
                continue
            wrong = [item for item in value if type(item) is not int or item not in known]
            if wrong:
                self.fault(row, f'`{field}` has {shown(wrong[0])}, which is not in `{section}`')

    def fault(self, row: int, what: str) -> None:
        """Note a fault of the entry at a position."""
        self._faulty.add(row)
        self._findings.fault(self._name(row), what)

    def rows(self) -> Sequence[int]:
        """Return the positions of the entries without faults so far."""
        if not self._faulty:
            return range(len(self.entries))
        return [row for row in range(len(self.entries)) if row not in self._faulty]

    def ids(self) -> set[int]:
        """Return all ids, also of entries with other faults."""
        return {value for value in self.column('id') if type(value) is int}

    def _name(self, row: int) -> str:
        image = f' of image {self._shown(row, "image_id")}' if self._noun == 'object' else ''
        return f'{self._noun} {self._shown(row, "id")}{image}'

    def _shown(self, row: int, field: str) -> str:
        entry = self.entries[row]
        return shown(entry[field]) if field in entry else '(missing)'


def _whole(value: object, booleans: bool) -> int | None:
    if isinstance(value, bool):
        return int(value) if booleans else None
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    # Sixteen digits hold every id; int() refuses thousands of them.
    if isinstance(value, str) and value.isascii() and value.isdecimal() and len(value) <= 16:
        return int(value)
    return value if isinstance(value, int) else None
