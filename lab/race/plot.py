"""Accuracy over minutes of training, one line for each run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# MMEngine brings it.
import matplotlib as mpl
from matplotlib.figure import Figure

from amt_mm.visualization.figures import STYLE
from lab.race.field import CONTESTANTS
from lab.race.thresholds import MEASURES

_SIZE = 9, 3.8  # inches
_COLOURS = mpl.colormaps['tab10'].colors
_FAINT = '#b9c6d6'


def over_minutes(results: Sequence[Mapping], compared: Mapping[str, Mapping | None]) -> Figure:
    """Plot all runs, a panel for each measure; ours are solid, peers dashed.

    Args:
        results: Of the finished runs.
        compared: Measure -> what :func:`~lab.race.thresholds.compare` returns, whose targets are
            drawn as lines.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(_SIZE, layout='constrained')
        panels = figure.subplots(1, len(MEASURES))
        for axes, (measure, title) in zip(panels, MEASURES.items(), strict=True):
            for target in (compared[measure] or {}).get('targets', ()):
                axes.axhline(target, color=_FAINT, lw=0.8)
            labelled = set()
            for result in results:
                name, points = result['contestant'], result['points']
                axes.plot([point['minutes'] for point in points],
                          [point[measure] for point in points], lw=1.2,
                          color=_COLOURS[list(CONTESTANTS).index(name)],
                          ls='-' if CONTESTANTS[name].ours else '--',
                          label=None if name in labelled else name)
                labelled.add(name)
            axes.set_title(f'{title}, %')
            axes.set_xlabel('minutes of training')
        figure.legend(*panels[0].get_legend_handles_labels(), loc='outside right upper',
                      frameon=False)
    return figure
