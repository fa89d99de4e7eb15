"""Section: the table of results, what it shows, and what it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .html_table import SWIPE, html_table


def results_section(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str],
                    formats: Mapping[str, str] | None = None, notes: Sequence[str] = (),
                    verdict: Sequence[str] = ()) -> str:
    """Return the section as HTML.

    Args:
        rows: As :func:`amt_mm.visualization.table_cells`, like the two that follow.
        columns: Heading of each column, in order.
        formats: Number format of columns.
        notes: Sentences under the table.
        verdict: Sentences above it.
    """
    notes = ''.join(f'<p class="note">{escape(text)}</p>' for text in notes)
    verdict = ''.join(f'<li>{escape(text)}</li>' for text in verdict)
    verdict = f'<ul class="verdict">{verdict}</ul>' if verdict else ''
    return (f'<section><h2>Results</h2>{verdict}{html_table(rows, columns, formats)}{SWIPE}'
            f'{notes}</section>')
