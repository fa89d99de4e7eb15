"""Curves as inline SVG, coloured by the report's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from ..errors import InputError

# More points would be finer than the pixels of the plot.
_MAX_POINTS = 400
# Small enough for the text to stay readable when a phone shrinks the plot.
_WIDTH, _HEIGHT = 520, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 62, 14, 12, 46
# Distinguish the curves without colour.
_DASHES = ('', '7 4', '2 3', '10 3 2 3')
_COLOURS = 6


@dataclass(frozen=True)
class Curve:
    """One line: ``y`` over ``x``, both (n,); non-finite values of ``y`` leave gaps."""

    label: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class CurvePlot:
    """Curves on shared axes."""

    title: str
    x_label: str
    y_label: str
    curves: Sequence[Curve]


def render_plot(plot: CurvePlot, labels: Sequence[str] = ()) -> str:
    """Render the plot as an HTML figure with a title, a legend and an SVG image.

    Curves of more than 400 points are averaged over equal runs. The style sheet defines the
    colours ``--curve-0`` to ``--curve-5``.

    Args:
        plot: What to draw.
        labels: Labels that take the first colours, in order, so that plots side by side use
            the same ones. Defaults to the labels of this plot.

    Returns:
        The HTML.

    Raises:
        InputError: x and y of a curve differ in length, or no point is finite.
    """
    lines = [_thin(curve) for curve in plot.curves]
    points = np.concatenate([line[np.isfinite(line).all(axis=1)] for line in lines] or [[]])
    if len(points) == 0:
        raise InputError(f'plot {plot.title!r} has no finite point to draw')
    x_low, x_high = points[:, 0].min(), points[:, 0].max()
    x_ticks = _ticks(x_low, x_high, 6)
    y_ticks = _ticks(points[:, 1].min(), points[:, 1].max(), 5)
    y_low, y_high = min(y_ticks), max(y_ticks)
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def px(x: float) -> float:
        return _LEFT + (x - x_low) / ((x_high - x_low) or 1) * (right - _LEFT)

    def py(y: float) -> float:
        return bottom - (y - y_low) / ((y_high - y_low) or 1) * (bottom - _TOP)

    svg = []
    for y, text in y_ticks.items():
        svg += [f'<line class="rule" x1="{_LEFT}" x2="{right}" y1="{py(y):.1f}" y2="{py(y):.1f}"/>',
                f'<text x="{_LEFT - 8}" y="{py(y) + 4:.1f}" text-anchor="end">{text}</text>']
    for x, text in x_ticks.items():
        if x_low <= x <= x_high:
            svg.append(
                f'<text x="{px(x):.1f}" y="{bottom + 18}" text-anchor="middle">{text}</text>')
    svg.append(f'<line class="axis" x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}"/>')
    middle = (_TOP + bottom) / 2
    svg.append(f'<text class="label" x="{(_LEFT + right) / 2}" y="{_HEIGHT - 6}" '
               f'text-anchor="middle">{escape(plot.x_label)}</text>')
    svg.append(f'<text class="label" x="14" y="{middle}" text-anchor="middle" '
               f'transform="rotate(-90 14 {middle})">{escape(plot.y_label)}</text>')
    keys = []
    order = list(dict.fromkeys([*labels, *(curve.label for curve in plot.curves)]))
    for curve, line in zip(plot.curves, lines, strict=True):
        index = order.index(curve.label)
        style = (f'stroke="var(--curve-{index % _COLOURS})" '
                 f'stroke-dasharray="{_DASHES[index % len(_DASHES)]}"')
        path = ''
        for run in _finite_runs(line):
            points = [f'{px(x):.1f} {py(y):.1f}' for x, y in run]
            path += 'M' + 'L'.join(points)
            if len(points) == 1:
                # A path needs two points; draw a single one as a dot.
                x, y = points[0].split()
                svg.append(f'<circle cx="{x}" cy="{y}" r="3.5" '
                           f'fill="var(--curve-{index % _COLOURS})"/>')
        svg.append(
            f'<path class="curve" {style} d="{path}"><title>{escape(curve.label)}</title></path>')
        keys.append(f'<li><svg viewBox="0 0 28 8" aria-hidden="true"><path class="curve" {style} '
                    f'd="M1 4H27"/></svg>{escape(curve.label)}</li>')
    names = ', '.join(curve.label for curve in plot.curves)
    return (f'<figure class="plot"><figcaption>{escape(plot.title)}</figcaption>'
            f'<ul class="keys">{"".join(keys)}</ul>'
            f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
            f'aria-label="{escape(plot.title)}: {escape(names)}">{"".join(svg)}</svg></figure>')


def curves_section(plots: Sequence[CurvePlot]) -> str:
    """Return plots side by side as a section of a page; equal labels have one colour in all."""
    labels = [curve.label for plot in plots for curve in plot.curves]
    figures = ''.join(render_plot(plot, labels) for plot in plots)
    return f'<section><h2>Curves</h2><div class="plots">{figures}</div></section>'


def _thin(curve: Curve) -> np.ndarray:
    """Return the points (n, 2) of a curve, at most ``_MAX_POINTS`` of them."""
    x, y = (np.asarray(v, dtype=np.float64) for v in (curve.x, curve.y))
    if x.ndim != 1 or x.shape != y.shape:
        raise InputError(f'curve {curve.label!r} has x of shape {x.shape} and y of {y.shape}')
    points = np.stack([x, y], axis=1)
    if len(points) <= _MAX_POINTS:
        return points
    return np.array([run.mean(axis=0) for run in np.array_split(points, _MAX_POINTS)])


def _finite_runs(line: np.ndarray) -> list[np.ndarray]:
    """Split the points (n, 2) into runs of consecutive finite ones."""
    finite = np.isfinite(line).all(axis=1)
    cuts = np.flatnonzero(finite[1:] != finite[:-1]) + 1
    return [part for part in np.split(line, cuts) if len(part) and np.isfinite(part).all()]


def _ticks(low: float, high: float, about: int) -> dict[float, str]:
    """Return about ``about`` round values that enclose low to high, with their labels."""
    if high == low:
        high = low + (abs(low) or 1)
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    values = [index * step for index in range(first, last + 1)]
    if max(abs(first), abs(last)) * step >= 1e6 or step < 1e-4:
        return {value: f'{value:.3g}' for value in values}
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return {value: f'{value:.{decimals}f}' for value in values}
