"""Tabulate the results of protocols next to published figures."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from amt_mm.protocols import PROTOCOLS

from .paper import PUBLISHED, TABLE_1


def table_rows(results: Iterable[Mapping]) -> tuple[list[dict], dict[str, str]]:
    """Make one row per pre-training and data set.

    Args:
        results: For each run ``pretraining`` (the row's name; runs with the same name, data and
            protocol are averaged), ``data``, ``protocol``, ``metrics`` and optionally ``paper``,
            the row of the paper's Table 1 to compare with.

    Returns:
        Rows and headings for :func:`amt_mm.visualization.write_table`. Cells are the
        mean and, of two runs or more, their standard deviation (of one low-shot run, that of its
        draws). Next to our figures are those of Table 1, where it has any, and those of others.
    """
    groups: dict[tuple[str, str], dict[str, list[Mapping]]] = {}
    published: dict[tuple[str, str], str | None] = {}
    for result in results:
        key = result['pretraining'], result['data']
        groups.setdefault(key, {}).setdefault(result['protocol'], []).append(result['metrics'])
        published[key] = result.get('paper')
    rows, filled = [], set()
    for (pretraining, data), group in groups.items():
        row = {'pretraining': pretraining, 'data': data}
        for name, runs in group.items():
            protocol = PROTOCOLS[name]
            for metric in (*protocol.columns, *protocol.numbers):
                values = [run[metric] for run in runs if metric in run]
                if len(values) == 1 and f'{metric}_std' in runs[0]:
                    spread = runs[0][f'{metric}_std']
                    row[f'{name}:{metric}'] = f'{values[0]:.1f} ± {spread:.1f}'
                elif values:
                    # Measures that are no percentages, such as alignment, may be small.
                    row[f'{name}:{metric}'] = _mean(values, *(
                        (3, 3) if metric in protocol.numbers else (2, 1)))
                others = PUBLISHED.get(metric, {}).get(published[pretraining, data], {})
                if data in others:
                    row[f'{name}:{metric}:published'] = others[data]
            figures = TABLE_1.get(published[pretraining, data], {}).get(data)
            if figures and protocol.paper is not None and figures[protocol.paper] is not None:
                row[f'{name}:paper'] = figures[protocol.paper]
        filled |= row.keys()
        rows.append(row)
    columns = {'pretraining': 'pre-training', 'data': 'data set'}
    for name, protocol in PROTOCOLS.items():
        for metric, heading in protocol.columns.items():
            columns[f'{name}:{metric}'] = f'{heading}, %'
            columns[f'{name}:{metric}:published'] = 'published'
        columns |= {f'{name}:{metric}': heading for metric, heading in protocol.numbers.items()}
        columns[f'{name}:paper'] = 'paper'
    return rows, {name: head for name, head in columns.items() if name in filled}


def _mean(values: Sequence[float], digits: int, mean_digits: int) -> str | float:
    """Return a single value, or the mean and the standard deviation of several."""
    if len(values) == 1:
        return round(values[0], digits)
    return (f'{statistics.mean(values):.{mean_digits}f} '
            f'± {statistics.stdev(values):.{mean_digits}f}')
