"""The plot shows each run once, and names each contestant once."""

from lab.race.plot import over_minutes
from lab.race.thresholds import compare

RUNS = [dict(contestant=name, repeat=repeat, seconds=120, steps=3, points=[
    dict(minutes=0, knn=3, linear=5), dict(minutes=2, knn=30 + repeat, linear=50)])
    for name in ('recommended', 'plain') for repeat in (0, 1)]


def test_each_run_is_a_line_and_each_contestant_a_label():
    figure = over_minutes(RUNS, {measure: compare(RUNS, measure) for measure in ('knn', 'linear')})
    knn, linear = figure.axes
    curves = [line for line in knn.lines if len(set(line.get_ydata())) > 1]
    assert [list(line.get_ydata()) for line in curves] == [[3, 30], [3, 31], [3, 30], [3, 31]]
    assert [line.get_linestyle() for line in curves] == ['-', '-', '--', '--']
    assert sorted(line.get_ydata()[0] for line in linear.lines if line not in curves)[-3:] == [
        45, 47.5, 50]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ['recommended', 'plain']
