"""Lay the results of protocols side by side, beside the paper's figures."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence

from .paper import TABLE_1

# Protocol -> what of its metrics the table shows, with the heading.
COLUMNS = {
    'knn': {'knn/top1_k20': 'k-NN'},
    'lowshot': {f'lowshot/top1_{n}shot': f'{n} a class' for n in (1, 5, 10, 20)},
    'linear': {'accuracy/top1': 'linear'},
    'linear4': {'accuracy/top1': 'linear, 4 blocks'},
    'finetune': {'accuracy/top1': 'fine-tuned'},
}
# Place of a protocol's figure in a cell of the paper's table.
_IN_PAPER = {'linear': 0, 'finetune': 1}


def table_rows(results: Iterable[Mapping]) -> tuple[list[dict], dict[str, str]]:
    """Make one row of each pre-training and data set.

    Args:
        results: One a run: ``pretraining`` (the row's name; runs that share name,
            data and protocol are averaged), ``data``, ``protocol``, ``metrics`` and,
            where the paper has the same, ``paper``, the row of its Table 1.

    Returns:
        Rows and headings, for :func:`amt_mm.visualization.write_table`. Per cent,
        mean and from two runs on standard deviation (of one low-shot run, over its
        draws). A column of the paper's
        figures stands beside each of ours for which Table 1 has any.
    """
    groups: dict[tuple[str, str], dict[str, list[Mapping]]] = {}
    published: dict[tuple[str, str], str | None] = {}
    for result in results:
        group = groups.setdefault((result['pretraining'], result['data']), {})
        group.setdefault(result['protocol'], []).append(result['metrics'])
        published[result['pretraining'], result['data']] = result.get('paper')
    shown = [protocol for protocol in COLUMNS if any(protocol in group
                                                     for group in groups.values())]
    rows, filled = [], set()
    for (pretraining, data), group in groups.items():
        row = {'pretraining': pretraining, 'data': data}
        for protocol, runs in group.items():
            for metric in COLUMNS[protocol]:
                values = [run[metric] for run in runs if metric in run]
                if len(values) == 1 and f'{metric}_std' in runs[0]:
                    spread = runs[0][f'{metric}_std']
                    row[f'{protocol}:{metric}'] = f'{values[0]:.1f} ± {spread:.1f}'
                elif values:
                    row[f'{protocol}:{metric}'] = _mean(values)
        for protocol, place in _IN_PAPER.items():
            known = TABLE_1.get(published[pretraining, data], {})
            figure = known.get(data, (None, None))[place]
            if protocol in group and figure is not None:
                row[f'{protocol}:paper'] = figure
        filled |= row.keys()
        rows.append(row)
    columns = {'pretraining': 'pre-training', 'data': 'data set'}
    for protocol in shown:
        for metric, heading in COLUMNS[protocol].items():
            columns[f'{protocol}:{metric}'] = f'{heading}, %'
        columns[f'{protocol}:paper'] = 'paper'
    return rows, {name: head for name, head in columns.items() if name in filled}


def _mean(values: Sequence[float]) -> str | float:
    if len(values) == 1:
        return round(values[0], 2)
    return f'{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}'
