"""A table of a page, which scrolls on a narrow screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .tables import table_cells


def html_table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str],
               formats: Mapping[str, str] | None = None) -> str:
    """Return a table as HTML; the arguments are those of :func:`table_cells`."""
    head = ''.join(f'<th scope="col">{escape(text)}</th>' for text in columns.values())
    body = []
    for cells in table_cells(rows, columns, formats):
        first, *others = map(escape, cells)
        body.append(f'<tr><th scope="row">{first}</th>'
                    + ''.join(f'<td>{cell}</td>' for cell in others)
                    + '</tr>')
    return (f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>'
            f'<tbody>{"".join(body)}</tbody></table></div>')


# Shown on narrow screens only; one a page is enough.
SWIPE = '<p class="swipe">The table is wider than this screen: it scrolls.</p>'
