import re
from xml.etree import ElementTree

import numpy as np
import pytest

from amt_mm.errors import InputError
from amt_mm.visualization import Curve, CurvePlot
from amt_mm.visualization.curves import render_plot


def parse(plot, labels=()):
    # A fragment that XML takes is one that HTML takes.
    return ElementTree.fromstring(render_plot(plot, labels))


def plot(*curves, title='Loss'):
    return CurvePlot(title, 'epoch', 'loss', curves)


def texts(figure):
    return [element.text for element in figure.iter('text')]


def paths(figure):
    chart = [svg for svg in figure.iter('svg') if svg.get('role') == 'img'][0]
    return list(chart.iter('path'))


def points(path):
    return np.array(
        [[float(n) for n in pair] for pair in re.findall(r'[ML]([-\d.]+) ([-\d.]+)', path.get('d'))]
    )


def test_points_match_the_axis_ticks():
    x, y = np.array([0, 10, 40]), np.array([0.25, 0.75, 0.5])
    figure = parse(plot(Curve('MAE', x, y)))
    drawn = points(paths(figure)[0])
    # The picture is a linear map of the data, upside down in y.
    for data, pixels, sign in ((x, drawn[:, 0], 1), (y, drawn[:, 1], -1)):
        slope = (pixels[1] - pixels[0]) / (data[1] - data[0])
        assert slope * sign > 0
        np.testing.assert_allclose(pixels, pixels[0] + slope * (data - data[0]), atol=0.3)
    # And the tick labels lie on the same map.
    slope = (drawn[1, 1] - drawn[0, 1]) / 0.5
    ticks = [t for t in figure.iter('text') if t.get('text-anchor') == 'end']
    assert len(ticks) >= 3
    for tick in ticks:
        expected = drawn[0, 1] + slope * (float(tick.text) - 0.25)
        assert float(tick.get('y')) - 4 == pytest.approx(expected, abs=0.5)
    axis = [line for line in figure.iter('line') if line.get('class') == 'axis'][0]
    assert float(axis.get('y1')) == max(float(tick.get('y')) for tick in ticks) - 4
    assert {'epoch', 'loss', '0', '40'} <= set(texts(figure))


def test_labels_are_escaped_and_colours_agree_between_plots():
    figure = parse(plot(Curve('<AMT> & "co"', [1, 2], [1, 2]), title='a < b'), ['MAE'])
    assert figure.find('figcaption').text == 'a < b'
    assert ''.join(figure.find('ul').itertext()) == '<AMT> & "co"'
    assert paths(figure)[0].get('stroke') == 'var(--curve-1)'


def test_gaps_break_the_line_and_single_points_are_dots():
    figure = parse(plot(Curve('a', range(6), [1, 2, np.nan, np.inf, 3, np.nan])))
    path = paths(figure)[0]
    assert re.sub(r'[-\d. ]+', '', path.get('d')) == 'MLM'
    dots = [[float(dot.get('cx')), float(dot.get('cy'))] for dot in figure.iter('circle')]
    assert dots == [points(path)[2].tolist()]
    text = render_plot(plot(Curve('a', [1], [2.0])))
    assert 'nan' not in text and text.count('<circle') == 1


def test_long_curves_are_averaged():
    y = np.random.default_rng(0).normal(size=10_001) + 5
    figure = parse(plot(Curve('a', np.arange(10_001), y)))
    assert len(points(paths(figure)[0])) == 400
    assert len(render_plot(plot(Curve('a', np.arange(10_001), y)))) < 10_000


@pytest.mark.parametrize(('low', 'high', 'expected'),
                         [(0, 1, ['0.0', '0.2', '0.4', '0.6', '0.8', '1.0']),
                          (0.31, 0.58, ['0.30', '0.40', '0.50', '0.60']),
                          (-3, 4, ['-4', '-2', '0', '2', '4']),
                          (7, 7, None),
                          (1e-7, 5e-7, ['1e-07', '2e-07', '3e-07', '4e-07', '5e-07'])])
def test_ticks_are_round_and_enclose_the_data(low, high, expected):
    figure = parse(plot(Curve('a', [0, 1], [low, high])))
    found = [t.text for t in figure.iter('text') if t.get('text-anchor') == 'end']
    values = [float(text) for text in found]
    assert min(values) <= low and high <= max(values)
    assert 3 <= len(found) <= 8
    if expected:
        assert [float(v) for v in expected] == pytest.approx(values) and len(set(found)) == len(
            found)


@pytest.mark.parametrize(
    'curves', [[], [Curve('a', [], [])], [Curve('a', [1], [np.nan])], [Curve('a', [1, 2], [1])]])
def test_refuses_curves_without_a_finite_point(curves):
    with pytest.raises(InputError):
        render_plot(plot(*curves))
