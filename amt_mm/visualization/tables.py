"""Result tables: Markdown for terminals and documents, JSON for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..checkpoints.safe_save import write_text
from ..checks import is_number
from ..errors import InputError
from ..json_files import plain_values
from ..printable import printable

MISSING = '–'


def table_cells(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str],
                formats: Mapping[str, str] | None = None) -> list[list[str]]:
    """Return the text of each cell, row by row.

    Args:
        rows: Values of each row by column; absent, None or NaN becomes a dash.
        columns: Heading of each column, in order.
        formats: Format specification of a column's numbers, such as ``'.1f'``. Defaults to
            ``str``. Text is unchanged.

    Raises:
        InputError: A row or a format names an unknown column.
    """
    formats = formats or {}
    for names in (*rows, formats):
        unknown = [name for name in names if name not in columns]
        if unknown:
            raise InputError(f'the table has no column {unknown[0]!r}; it has {list(columns)}')
    return [[_cell(row.get(name), formats.get(name, '')) for name in columns] for row in rows]


def markdown_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str],
                   formats: Mapping[str, str] | None = None) -> str:
    """Return a Markdown table with aligned source; arguments as :func:`table_cells`.

    The first column is left-aligned, the others are right-aligned.
    """
    if not columns:
        raise InputError('a table needs at least one column')
    lines = [list(columns.values()), *table_cells(rows, columns, formats)]
    lines = [[printable(text.replace('|', '\\|').replace('\n', ' ')) for text in line]
             for line in lines]
    # Markdown requires at least three dashes.
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(columns))]
    rule = ['-' * widths[0]] + ['-' * (width - 1) + ':' for width in widths[1:]]
    text = ''
    for first, *others in [lines[0], rule, *lines[1:]]:
        padded = [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        text += f'| {" | ".join([first.ljust(widths[0]), *padded])} |\n'
    return text


def write_table(path: str | Path, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str],
                formats: Mapping[str, str] | None = None) -> tuple[Path, Path]:
    """Write ``<path>.md`` and, with unrounded values, ``<path>.json``.

    In JSON, missing and non-finite values are null.

    Args:
        path: Destination without suffix.
        rows: As :func:`table_cells`.
        columns: As :func:`table_cells`.
        formats: As :func:`table_cells`.

    Returns:
        The paths of both files.
    """
    path = Path(path)
    markdown, data = path.with_name(path.name + '.md'), path.with_name(path.name + '.json')
    text = markdown_table(rows, columns, formats)
    values = plain_values([{name: row.get(name) for name in columns} for row in rows])
    content = json.dumps(
        {'columns': dict(columns), 'rows': values}, indent=2, ensure_ascii=False, allow_nan=False)
    write_text(markdown, text)
    # What stands in a name for a byte that is not UTF-8, JSON has an escape for.
    write_text(data, content.encode('utf-8', 'backslashreplace').decode() + '\n')
    return markdown, data


def _cell(value: Any, spec: str) -> str:
    if value is None or (is_number(value) and math.isnan(value)):
        return MISSING
    return format(value, spec) if is_number(value) else str(value)
