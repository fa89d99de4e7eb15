"""Tables of a study: each recipe, and its difference to the baseline, paired by seed."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from amt_mm.apis.comparison import MEASURES, interval
from amt_mm.checkpoints.safe_save import write_text
from amt_mm.visualization import markdown_table

from .study_file import Study, folder_name

# Compared measures, with headings; the rest of a record is cost.
_HELD_OUT = {name: MEASURES[name]
             for name in ('knn', 'linear_mean', 'linear_cls', 'attention_on_object')}
CROSS_VALIDATED = '_cv'
# Their tables have a title of their own.
_IN_FOLDS = {name + CROSS_VALIDATED: MEASURES[name]
             for name in ('knn', 'linear_mean', 'linear_cls')}
COMPARED = {**_HELD_OUT, **{name: head.replace(', %', ', cross-validated, %')
                            for name, head in _IN_FOLDS.items()}}
POOLED = 'pooled'


def summary(records: Sequence[Mapping], study: Study) -> list[dict]:
    """Aggregate finished runs per recipe.

    Args:
        records: Lines of ``runs.jsonl``, of one or several data sets.
        study: Gives the order of recipes and the baseline.

    Returns:
        For each recipe with a run: ``recipe``, ``runs``, ``epochs``, ``relative_step_cost``,
        ``relative_cost`` (None if runs differ in them) and per measure ``runs`` that have it,
        ``mean``, ``sd`` (None for one run) and, except for the baseline, ``pairs``,
        ``difference`` and ``half_width`` of its 95 % interval (None for one pair). Pairs are runs
        of the same data set and seed that both are finished.
    """
    of = {name: {(record['data_set'], record['seed']): record for record in records
                 if record['recipe'] == name} for name in study.recipes}
    rows = []
    for name, own in of.items():
        if not own:
            continue
        row = {'recipe': name, 'runs': len(own)}
        for key in ('epochs', 'relative_step_cost', 'relative_cost'):
            values = {record[key] for record in own.values()}
            row[key] = values.pop() if len(values) == 1 else None
        for measure in COMPARED:
            values = [record[measure] for record in own.values()
                      if record.get(measure) is not None]
            if not values:
                continue
            row[measure] = {'runs': len(values), 'mean': statistics.mean(values),
                            'sd': statistics.stdev(values) if len(values) > 1 else None}
            if name != study.baseline:
                row[measure].update(_difference(own, of[study.baseline], measure))
        rows.append(row)
    return rows


def _difference(own: Mapping, baseline: Mapping, measure: str) -> dict:
    pairs = [own[key][measure] - baseline[key][measure] for key in own if key in baseline
             and None not in (own[key].get(measure), baseline[key].get(measure))]
    mean, half = (interval(pairs) if len(pairs) > 1 else
                  (pairs[0] if pairs else None, None))
    return {'pairs': len(pairs), 'difference': mean, 'half_width': half}


def write_tables(records: Sequence[Mapping], study: Study, work_dir: Path) -> list[Path]:
    """Write ``tables/<data set>.md`` and ``.json``, and ``pooled`` of several data sets.

    Args:
        records: Lines of ``runs.jsonl``.
        study: The study.
        work_dir: Its folder.

    Returns:
        The Markdown files.
    """
    measured = [name for name in study.datasets
               if any(record['data_set'] == name for record in records)]
    written = []
    for name in measured:
        rows = summary([record for record in records if record['data_set'] == name], study)
        text = _both(rows, study.baseline)
        folds = [row for row in rows if any(key in row for key in _IN_FOLDS)]
        if folds:
            text += f'\n### Cross-validated\n\n{_both(folds, study.baseline, _IN_FOLDS)}'
        written.append(_write(work_dir / 'tables' / folder_name(name), name, text, rows))
    if len(measured) > 1:
        rows = summary(records, study)
        # Means over data sets reflect the data sets more than the recipes.
        for row in rows:
            for measure in COMPARED:
                for key in ('mean', 'sd'):
                    row.get(measure, {}).pop(key, None)
        text = _compared(rows, study.baseline, _HELD_OUT)
        written.append(_write(work_dir / 'tables' / POOLED, f'{", ".join(measured)}, pooled', text,
                              rows))
    return written


def _write(path: Path, title: str, text: str, rows: Sequence[Mapping]) -> Path:
    write_text(path.with_name(path.name + '.json'),
               json.dumps(rows, indent=2, ensure_ascii=False) + '\n')
    file = path.with_name(path.name + '.md')
    write_text(file, f'## {title}\n\n{text}')
    return file


def _both(rows: Sequence[Mapping], baseline: str, heads: Mapping[str, str] = _HELD_OUT) -> str:
    return f'{_measured(rows, heads)}\n{_compared(rows, baseline, heads)}'


def _measured(rows: Sequence[Mapping], heads: Mapping[str, str]) -> str:
    heads = _of(rows, heads)
    columns = {'recipe': 'recipe', 'runs': 'seeds', 'epochs': 'epochs',
               'relative_step_cost': 'cost of a step', 'relative_cost': 'cost of the run', **heads}
    formats = {'relative_step_cost': '.2f', 'relative_cost': '.2f'}
    cells = [{**{key: row[key] for key in list(columns)[:5]},
              'runs': max((row[name]['runs'] for name in heads if name in row),
                          default=row['runs']),
              **{name: _spread(row[name]['mean'], row[name]['sd'])
                 for name in heads if name in row}} for row in rows]
    return (markdown_table(cells, columns, formats)
            + '\nMean ± standard deviation over seeds. Costs are multiply-adds over those of the '
              'baseline.\n')


def _compared(rows: Sequence[Mapping], baseline: str, heads: Mapping[str, str]) -> str:
    rows = [row for row in rows if row['recipe'] != baseline]
    if not rows:
        return ''
    heads = _of(rows, heads)
    columns = {'recipe': f'minus {baseline}', 'pairs': 'pairs', **heads}
    cells = [{'recipe': row['recipe'],
              'pairs': max((row[name]['pairs'] for name in heads if name in row), default=0),
              **{name: _spread(row[name]['difference'], row[name]['half_width'], '+')
                 for name in heads if name in row}} for row in rows]
    return (markdown_table(cells, columns)
            + f'\nDifference to {baseline}, ± half of its 95 % confidence interval (Student\'s t) '
              'over pairs of the same data set and seed.\n')


def _of(rows: Sequence[Mapping], heads: Mapping[str, str]) -> dict[str, str]:
    return {name: head for name, head in heads.items() if any(name in row for row in rows)}


def present(rows: Sequence[Mapping]) -> dict[str, str]:
    """Measures of the rows, with headings; cross-validated ones only if all runs have them.

    Otherwise the mean over data sets would cover only some of them.
    """
    found = {}
    for name, head in COMPARED.items():
        held_out = name.removesuffix(CROSS_VALIDATED)
        having = [row for row in rows if held_out in row]
        if having and all(row.get(name, {}).get('runs') == row[held_out]['runs']
                          for row in having):
            found[name] = head
    return found


def _spread(mean: float | None, spread: float | None, sign: str = '') -> str | None:
    if mean is None:
        return None
    return f'{mean:{sign}.1f}' + (f' ± {spread:.1f}' if spread is not None else '')
