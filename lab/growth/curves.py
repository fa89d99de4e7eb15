"""Costs over the number of samples: table, slopes and plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# MMEngine brings it.
import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure

from amt_mm.visualization.figures import STYLE

from .cost import Cost
from .maps import BATCH, PARTS

TIMES = {'list': 'list the samples', 'fingerprint': 'fingerprint', 'order': 'order of an epoch',
         'write': 'write all maps', 'part': f'write 1/{PARTS}, keep the others',
         'verify': 'verify', 'verify_disk': 'verify, from disk', 'open': 'open',
         'lookup': f'look {BATCH} up', 'lookup_disk': f'look {BATCH} up, from disk'}
MEMORY = {('list', 'highest'): 'list the samples, at most',
          ('list', 'kept'): 'list the samples, kept',
          ('worker', 'highest'): 'added by a worker',
          ('order', 'highest'): 'order of an epoch, at most',
          ('order', 'kept'): 'order of an epoch, kept',
          ('write', 'highest'): 'write all maps', ('lookup', 'highest'): 'look up'}
# Less is noise of the system's counts, which are in pages.
LEAST_BYTES = 2e6
_SIZE = 11, 4.4  # inches
_COLOURS = mpl.colormaps['tab10'].colors

Costs = Mapping[str, Cost | None]


def slope(samples: Sequence[int], values: Sequence[float | None]) -> float | None:
    """Exponent of growth: of the straight line through the logarithms, by least squares.

    Args:
        samples: Numbers of samples.
        values: Cost at each; None or 0 is left out.

    Returns:
        1 for a cost in proportion, 0 for one that does not grow; None with less than two values.
    """
    points = np.array([(x, y) for x, y in zip(samples, values, strict=True) if y])
    if len(points) < 2:
        return None
    return float(np.polyfit(*np.log(points).T, 1)[0])


def time_rows(found: Mapping[int, Costs], kind: str) -> list[dict]:
    """One row for each operation: seconds at each number of samples, and the slope.

    Args:
        found: Number of samples -> costs.
        kind: ``'seconds'`` or ``'processor'``.
    """
    return [_row(name, [costs.get(key) and getattr(costs[key], kind) for costs in found.values()],
                 list(found)) for key, name in TIMES.items()]


def memory_rows(found: Mapping[int, Costs]) -> list[dict]:
    """One row for each use of memory: MB at each number of samples, and the slope."""
    rows = []
    for (key, kind), name in MEMORY.items():
        values = [costs.get(key) and getattr(costs[key], kind) for costs in found.values()]
        rows.append(_row(name, [value and (value / 1e6 if value > LEAST_BYTES else 0)
                                for value in values], list(found)))
    return rows


def _row(name: str, values: Sequence[float | None], samples: Sequence[int]) -> dict:
    return {'name': name, **dict(zip(map(str, samples), values, strict=True)),
            'slope': slope(samples, values)}


def plot(times: Sequence[Mapping], memory: Sequence[Mapping]) -> Figure:
    """Draw both tables over the number of samples, all axes logarithmic, slopes in the legends."""
    with mpl.rc_context(STYLE):
        figure = Figure(_SIZE, layout='constrained')
        for axes, rows, unit in zip(figure.subplots(1, 2), (times, memory), ('s', 'MB'),
                                    strict=True):
            for row, colour in zip(rows, _COLOURS, strict=False):
                points = [(int(key), value) for key, value in row.items()
                          if key not in ('name', 'slope') and value]
                if points:
                    grown = '' if row['slope'] is None else f', slope {row["slope"]:.2f}'
                    axes.loglog(*zip(*points, strict=True), 'o-', color=colour, ms=3, lw=1.2,
                                label=row['name'] + grown)
            axes.set_xlabel('samples')
            axes.set_ylabel({'s': 'time passed, s', 'MB': 'memory of one process, MB'}[unit])
            if axes.lines:
                axes.legend(frameon=False, fontsize=7, loc='upper center',
                            bbox_to_anchor=(0.5, -0.14), ncols=2)
    return figure
