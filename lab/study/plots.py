"""Plots of a study: differences to the baseline with intervals, accuracy over cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

# MMEngine brings it.
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from amt_mm.visualization.figures import STYLE, save_figure

from .study_file import Study, folder_name
from .tables import POOLED, present, summary

# The report page's blue and greys.
_BLUE, _SOFT, _FAINT, _RULE = '#2563a8', '#5d636f', '#b9c6d6', '#e2e3e0'
_PANEL = 4.2  # inches across
_ACROSS = 3  # panels side by side: a page is not wider
_LINE = 0.26  # inches a recipe
_LINE_OF_NUMBERS = 0.034  # of a panel's height


def write_plots(records: Sequence[Mapping], study: Study, work_dir: Path) -> list[Path]:
    """Write ``plots/<data set>_differences`` and ``_cost``, and pooled differences.

    Args:
        records: Lines of ``runs.jsonl``.
        study: The study.
        work_dir: Its folder.

    Returns:
        The SVG files, each with a PNG next to it. Differences need a pair of runs, plots over cost
        two recipes of known cost.
    """
    measured = [name for name in study.datasets
                if any(record['data_set'] == name for record in records)]
    figures = {}
    for name in measured:
        rows = summary([record for record in records if record['data_set'] == name], study)
        figures[f'{folder_name(name)}_differences'] = differences(rows, study.baseline, name)
        figures[f'{folder_name(name)}_cost'] = over_cost(rows, name)
    if len(measured) > 1:
        figures[f'{POOLED}_differences'] = differences(
            summary(records, study), study.baseline, f'{", ".join(measured)}, pooled')
    return [save_figure(figure, work_dir / 'plots' / name) for name, figure in figures.items()
            if figure is not None]


def differences(rows: Sequence[Mapping], baseline: str, title: str) -> Figure | None:
    """Plot a dot and its 95 % interval per recipe, one panel per measure, the best on top.

    The dot of a single pair is hollow and has no interval. Intervals much wider than the
    differences, as two seeds give them, are cut, with an arrow.

    Args:
        rows: From :func:`~lab.study.tables.summary`.
        baseline: Name of the baseline.
        title: Of the figure.

    Returns:
        The figure, None without a pair of runs.
    """
    heads = present(rows)
    panels = {name: sorted((row[name] | {'recipe': row['recipe']} for row in rows
                            if row.get(name, {}).get('pairs')), key=lambda row: row['difference'])
              for name in heads}
    panels = {name: shown for name, shown in panels.items() if shown}
    if not panels:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = _panels(len(panels), max(map(len, panels.values())), title)
        for one, (name, shown) in zip(axes, panels.items(), strict=True):
            low, high = _limits(shown)
            for height, row in enumerate(shown):
                _interval(one, height, row, low, high)
            one.axvline(0, color=_SOFT, lw=1, zorder=1)
            one.set_xlim(low, high)
            one.set_ylim(-0.6, len(shown) - 0.4)
            one.set_yticks(range(len(shown)), [row['recipe'] for row in shown])
            one.set_title(heads[name])
            one.set_xlabel(f'points, minus {baseline}')
            one.grid(axis='x', color=_RULE, lw=0.6)
    return figure


def _limits(shown: Sequence[Mapping]) -> tuple[float, float]:
    """Axis limits that show all dots, zero, and intervals as far as dots stay distinguishable."""
    dots = [0, *(row['difference'] for row in shown)]
    widest = max((row['half_width'] or 0 for row in shown), default=0)
    spread = max(dots) - min(dots)
    room = max(min(1.05 * widest, max(2 * spread, 2)), 0.08 * spread, 0.5)
    return min(dots) - room, max(dots) + room


def _interval(axes: Axes, height: int, row: Mapping, low: float, high: float) -> None:
    middle, half = row['difference'], row['half_width']
    if half is not None:
        ends = middle - half, middle + half
        axes.hlines(height, max(ends[0], low), min(ends[1], high), color=_BLUE, lw=1.4)
        for end, edge, cut, arrow in ((ends[0], low, ends[0] < low, '<'),
                                      (ends[1], high, ends[1] > high, '>')):
            axes.plot(edge if cut else end, height, arrow if cut else '|', color=_BLUE, ms=5,
                      clip_on=False)
    axes.plot(middle, height, 'o', color=_BLUE, mfc='white' if half is None else _BLUE, ms=5)


def over_cost(rows: Sequence[Mapping], title: str) -> Figure | None:
    """Plot mean ± standard deviation of each recipe over its cost, one panel per measure.

    Args:
        rows: From :func:`~lab.study.tables.summary`, of one data set.
        title: Of the figure.

    Returns:
        The figure, with a key of numbers; None without two recipes of known cost.
    """
    known = [row for row in rows if row['relative_cost'] is not None]
    measures = present(known)
    if len(known) < 2 or not measures:
        return None
    with mpl.rc_context(STYLE):
        figure, axes = _panels(len(measures), max(9, len(known)), title)
        for one, name in zip(axes, measures, strict=True):
            points = {number: (row['relative_cost'], row[name]['mean'])
                      for number, row in enumerate(known, start=1) if name in row}
            for number, place in points.items():
                one.errorbar(*place, yerr=known[number - 1][name]['sd'], fmt='o', ms=4,
                             elinewidth=0.8, color=_BLUE, ecolor=_FAINT)
            one.margins(0.1)
            low, high = one.get_ylim()
            one.set_ylim(low, high)
            for number, height in _apart(points, _LINE_OF_NUMBERS * (high - low)).items():
                one.annotate(str(number), (points[number][0], height), (5, 0), va='center',
                             textcoords='offset points', fontsize=8)
            one.set_title(measures[name])
            one.set_xlabel('cost of the run, baseline = 1')
            one.grid(color=_RULE, lw=0.6)
        key = '\n'.join(f'{number}  {row["recipe"]}' for number, row in enumerate(known, start=1))
        last = axes[:_ACROSS][-1]  # of the first row
        last.text(1.04, 1, key, transform=last.transAxes, va='top', linespacing=1.5)
    return figure


def _apart(points: Mapping[int, tuple[float, float]], gap: float) -> dict[int, float]:
    """Heights for the numbers next to points, so that none covers another of similar cost.

    Args:
        points: Number -> cost and accuracy.
        gap: Minimum distance.
    """
    heights: dict[int, float] = {}
    for column in {round(x, 1) for x, _ in points.values()}:
        inside = sorted((number for number, (x, _) in points.items() if round(x, 1) == column),
                        key=lambda number: points[number][1])
        top = -float('inf')
        for number in inside:
            heights[number] = top = max(points[number][1], top + gap)
    return heights


def _panels(number: int, lines: int, title: str) -> tuple[Figure, Sequence[Axes]]:
    across, down = min(number, _ACROSS), math.ceil(number / _ACROSS)
    figure = Figure((_PANEL * across, down * (1.3 + _LINE * lines)), layout='constrained')
    figure.suptitle(title)
    axes = figure.subplots(down, across, squeeze=False).flatten()
    for spare in axes[number:]:
        spare.remove()
    return figure, axes[:number]
