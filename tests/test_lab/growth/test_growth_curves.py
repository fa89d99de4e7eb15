"""Slopes of costs that are known to grow in a known way."""

import pytest

from lab.growth.cost import Cost
from lab.growth.curves import memory_rows, plot, slope, time_rows

SAMPLES = [10**4, 10**5, 10**7]


@pytest.mark.parametrize(('power', 'factor'), [(1, 2e-6), (0, 3e-4), (.5, 1), (2, 7e-9)])
def test_the_slope_is_the_power(power, factor):
    assert slope(SAMPLES, [factor * n**power for n in SAMPLES]) == pytest.approx(power, abs=1e-9)


def test_what_was_not_measured_is_left_out():
    assert slope(SAMPLES, [1., None, 1000.]) == pytest.approx(1)
    assert slope(SAMPLES, [None, 0, 3.]) is None


@pytest.fixture
def found():
    return {n: {'list': Cost(2e-6 * n, 1e-6 * n, 700 * n, 300 * n), 'write': Cost(1, 2, 100, 0),
                'open': Cost(.5, .25, 0, 0), 'lookup_disk': None} for n in SAMPLES}


def test_a_row_for_each_operation_and_use(found):
    rows = {row['name']: row for row in time_rows(found, 'processor')}
    row = rows['list the samples']
    assert [row[str(n)] for n in SAMPLES] == pytest.approx([.01, .1, 10])
    assert row['slope'] == pytest.approx(1)
    assert rows['open']['slope'] == pytest.approx(0, abs=1e-9)
    assert rows['look 512 up, from disk']['10000'] is None
    memory = {row['name']: row for row in memory_rows(found)}
    assert memory['list the samples, kept']['10000000'] == 3000
    assert memory['write all maps']['100000'] == 0  # 100 bytes are noise


def test_the_plot_has_a_line_for_each_row_with_its_slope(found):
    figure = plot(time_rows(found, 'seconds'), memory_rows(found))
    times, memory = figure.axes
    assert [line.get_label() for line in times.lines] == [
        'list the samples, slope 1.00', 'write all maps, slope 0.00', 'open, slope 0.00']
    assert list(times.lines[0].get_xdata()) == SAMPLES
    assert list(memory.lines[1].get_ydata()) == [3, 30, 3000]
    assert times.get_xscale() == times.get_yscale() == 'log'
