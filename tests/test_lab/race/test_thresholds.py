"""Thresholds of curves made by hand."""

import json
import math

import pytest

from amt_mm.json_files import plain_values
from lab.race.thresholds import as_markdown, compare, minutes_to_reach


def result(name, *points, linear=1.):
    return dict(contestant=name, seconds=60 * points[-1][0], steps=10, batch=2, points=[
        dict(minutes=minutes, knn=knn, linear=linear) for minutes, knn in points])


CURVE = result('mae', (0, 10), (2, 20), (4, 16), (6, 40))['points']


@pytest.mark.parametrize('accuracy, minutes', [
    (5, 0), (10, 0), (15, 1), (20, 2), (22, 4.5), (40, 6), (40.1, math.inf)])
def test_a_threshold_is_crossed_between_points(accuracy, minutes):
    assert minutes_to_reach(CURVE, 'knn', accuracy) == pytest.approx(minutes)


RESULTS = [
    result('recommended', (0, 0), (2, 60)), result('recommended', (0, 0), (4, 60)),
    result('recommended', (0, 0), (3, 60)),
    # Better in the end than all, but no peer.
    result('plain', (0, 0), (10, 40)), result('plain', (0, 0), (5, 20)),
    # The best peer: 40 on average, at its best in between.
    result('lightly', (0, 0), (4, 50), (8, 40))]


def test_targets_are_shares_of_the_best_peers_final_accuracy():
    found = compare(RESULTS, 'knn')
    assert found['best_peer'] == 'lightly' and found['accuracy'] == 40
    assert found['targets'] == pytest.approx([36, 38, 40])
    rows = {row['contestant']: row for row in found['rows']}
    assert list(rows) == ['recommended', 'lightly', 'plain']
    assert rows['recommended']['reached'][0] == pytest.approx([1.2, 2.4, 1.8])
    assert rows['lightly']['reached'][2] == pytest.approx([3.2])
    assert rows['plain']['reached'][0] == pytest.approx([9, math.inf])
    assert rows['plain']['final'] == 30 and rows['plain']['minutes'] == 7.5


def test_the_table_has_medians_ranges_and_the_leaders():
    text = as_markdown(compare(RESULTS, 'knn'), 'knn')
    lines = {line.split('|')[1].strip(): line for line in text.splitlines() if '|' in line}
    assert '1.8 (1.2 to 2.4)' in lines['recommended'] and '60.0' in lines['recommended']
    assert lines['plain'].count('–') == 3  # one of two runs is no majority
    assert '- 90%: recommended after 1.8 minutes, lightly after 2.9: 1.60 times as fast' in text


def test_without_a_peer_there_is_nothing_to_compare_to():
    assert compare(RESULTS[:3], 'knn') is None


def test_json_has_no_infinity():
    text = json.dumps(plain_values(compare(RESULTS, 'knn')), allow_nan=False)
    assert json.loads(text)['rows'][2]['reached'][0] == [pytest.approx(9), None]
