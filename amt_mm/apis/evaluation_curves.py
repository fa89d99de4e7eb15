"""Curves of evaluated encoders: over epochs, learning rates and shares of painted patches."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence

from amt_mm.evaluation.kept import kept_alike
from amt_mm.evaluation.robustness_loop import OCCLUSIONS
from amt_mm.protocols import PROTOCOLS
from amt_mm.visualization import Curve, CurvePlot

from .scalars import scalars

_Points = Mapping[float, float]


def curve_plots(results: Sequence[Mapping]) -> list[CurvePlot]:
    """Return a plot for all that the runs of one protocol on one data set tell.

    Args:
        results: Of each run ``pretraining``, ``data``, ``protocol``, ``metrics`` and ``folder``.
            Runs of one name are averaged, as in the table.
    """
    plots: dict[tuple, dict[str, list[_Points]]] = {}
    for result in results:
        for axes, points in _curves(result):
            plots.setdefault((result['data'], *axes), {}).setdefault(
                result['pretraining'], []).append(points)
    return [CurvePlot(f'{title}, {data}', x_label, y_label,
                      [_mean(name, runs) for name, runs in curves.items()])
            for (data, title, x_label, y_label), curves in plots.items()]


def _curves(result: Mapping) -> Iterable[tuple[tuple[str, str, str], _Points]]:
    """Yield title and labels of the axes of each curve of a run, and its points."""
    protocol, metrics = PROTOCOLS[result['protocol']], result['metrics']
    accuracy = 'accuracy/top1'
    if protocol.trains and (points := {
            record['step']: record[accuracy] for record in scalars(result['folder'])
            if accuracy in record}):
        yield (protocol.columns.get(accuracy, result['protocol']), 'epoch', 'top-1, %'), points
    for kind, sweep in kept_alike(result['folder'], 'sweep_').items():
        points = {}
        for lr, reached in zip(sweep['lrs'], sweep['held_out'], strict=True):
            # The best of the weight decays.
            points[math.log10(lr)] = max(reached, points.get(math.log10(lr), reached))
        column = f'{result["protocol"]}/{kind}_top1'
        heading = protocol.columns.get(column, column)
        yield (heading, 'log10 of the learning rate', 'held-out training images, %'), points
    for kind in OCCLUSIONS:
        prefix = f'robustness/{kind}_'
        points = {float(name.removeprefix(prefix)): value for name, value in metrics.items()
                  if name.startswith(prefix)}
        if points:
            yield (f'k-NN, {kind} patches painted first', 'painted patches, %', 'top-1, %'), {
                0.: metrics['robustness/top1'], **points}


def _mean(name: str, runs: Sequence[_Points]) -> Curve:
    # A run that was interrupted may have points of its own.
    common = sorted(set.intersection(*map(set, runs)))
    return Curve(name, common, [statistics.mean(run[x] for run in runs) for x in common])
