"""Tables: means, and differences paired by data set and seed, by scipy's own test."""

import json
import statistics

import pytest
from scipy import stats

from amt_mm.apis.comparison import interval
from lab.study.study_file import Recipe, Study
from lab.study.tables import present, summary, write_tables

STUDY = Study('s', 'random', (0, 1, 2), {'photos': '', 'more photos': ''},
              {name: Recipe(name, ()) for name in ('random', 'AMT', 'late', 'none')}, {})
RANDOM, AMT = [30., 33.5, 31.25], [31., 32.5, 36.]


def record(recipe, seed, knn, data_set='photos', cost=1., **others):
    return dict(recipe=recipe, seed=seed, data_set=data_set, epochs=30, relative_step_cost=.5,
                relative_cost=cost, **{'knn': knn, **others})


def records(recipe, values, **others):
    return [record(recipe, seed, value, **others) for seed, value in enumerate(values)]


@pytest.mark.parametrize('number', [2, 3, 10, 11, 31])
def test_the_interval_is_that_of_a_paired_t_test(number):
    differences = [(7 * i * i) % 11 - i / 3 for i in range(number)]
    wanted = stats.ttest_1samp(differences, 0).confidence_interval(.95)
    mean, half = interval(differences)
    assert (mean - half, mean + half) == pytest.approx((wanted.low, wanted.high), rel=1e-4)


def test_means_and_differences_of_recipes():
    rows = {row['recipe']: row for row in summary(
        [*records('AMT', AMT), *records('random', RANDOM)], STUDY)}
    assert list(rows) == ['random', 'AMT']
    assert rows['random']['knn'] == {'runs': 3, 'mean': statistics.mean(RANDOM),
                                     'sd': statistics.stdev(RANDOM)}
    wanted = stats.ttest_rel(AMT, RANDOM).confidence_interval(.95)
    found = rows['AMT']['knn']
    assert found['pairs'] == 3
    assert found['difference'] == pytest.approx(statistics.mean(AMT) - statistics.mean(RANDOM))
    assert found['half_width'] == pytest.approx((wanted.high - wanted.low) / 2, rel=1e-4)
    assert 'linear_cls' not in rows['AMT']


def test_pairs_are_of_the_same_seed_as_far_as_both_are_there():
    rows = {row['recipe']: row for row in summary(
        [record('AMT', 2, 36.), record('AMT', 1, 30.), record('late', 0, 20.),
         record('random', 0, 50.), record('random', 2, 33.)], STUDY)}
    assert rows['AMT']['runs'] == 2
    assert rows['AMT']['knn'] == {
        'runs': 2, 'mean': 33., 'sd': pytest.approx(statistics.stdev([36, 30])), 'pairs': 1,
        'difference': 3., 'half_width': None}
    alone, = summary(records('late', [1.]), STUDY)
    assert alone['knn'] == {'runs': 1, 'mean': 1., 'sd': None, 'pairs': 0, 'difference': None,
                            'half_width': None}


def test_cross_validated_measures_stand_where_all_runs_have_them():
    photos = [record('random', 0, 30., knn_cv=40.), record('AMT', 0, 31., knn_cv=42.)]
    others = [record('random', 0, 70., data_set='more photos'),
              record('AMT', 0, 60., data_set='more photos')]
    rows = summary(photos, STUDY)
    assert present(rows) == {'knn': 'k-NN, %', 'knn_cv': 'k-NN, cross-validated, %'}
    assert rows[1]['knn_cv']['difference'] == 2 and rows[1]['knn']['difference'] == 1
    # Of two data sets what both have, never a mean of one of them under both's name.
    for runs in (others, [*photos, *others], [*photos, others[0]]):
        assert present(summary(runs, STUDY)) == {'knn': 'k-NN, %'}


def test_what_is_cross_validated_has_tables_of_its_own(tmp_path):
    """Of the runs that are; a pooled table has only what all data sets have."""
    files = write_tables([
        record('random', 0, 30., knn_cv=40.), record('AMT', 0, 31., knn_cv=42.),
        record('AMT', 1, 37.), record('late', 0, 20.),
        record('random', 0, 70., data_set='more photos'),
        record('AMT', 0, 60., data_set='more photos')], STUDY, tmp_path)
    texts = {file.stem: file.read_text() for file in files}
    held_out, folds = texts['photos'].split('### Cross-validated')
    assert '42.0' not in held_out and '| late' in held_out and '34.0 ± 4.2' in held_out
    row = next(line for line in folds.splitlines() if line.startswith('| AMT'))
    assert [cell.strip() for cell in row.split('|')][1:] == [
        'AMT', '1', '30', '0.50', '1.00', '42.0', '']
    assert '| late' not in folds and '+2.0' in folds
    assert 'validated' not in texts['more-photos'] + texts['pooled']


def test_pooled_pairs_are_of_the_same_data_set_too():
    """Data sets of very different accuracy: mixed up, the interval would be tens of points."""
    both = [*records('random', RANDOM), *records('AMT', AMT),
            *records('random', [70., 75.], data_set='more photos'),
            *records('AMT', [69., 77.], data_set='more photos')]
    row = next(row for row in summary(both, STUDY) if row['recipe'] == 'AMT')
    wanted = stats.ttest_rel([*AMT, 69, 77], [*RANDOM, 70, 75]).confidence_interval(.95)
    assert row['knn']['pairs'] == 5
    assert row['knn']['half_width'] == pytest.approx((wanted.high - wanted.low) / 2, rel=1e-4)


def test_a_measure_that_one_run_lacks():
    rows = summary([record('random', 0, 30., linear_cls=1.), record('random', 1, 30.),
                    record('AMT', 0, 31., linear_cls=3.), record('AMT', 1, 31., linear_cls=None)],
                   STUDY)
    assert rows[1]['linear_cls']['pairs'] == 1 and rows[1]['linear_cls']['difference'] == 2


def test_costs_that_differ_between_runs_are_left_open():
    rows = summary([*records('random', RANDOM), *records('random', [1.], data_set='b', cost=2.)],
                   STUDY)
    assert rows[0]['relative_cost'] is None and rows[0]['epochs'] == 30


def test_files(tmp_path):
    both = [*records('random', RANDOM, linear_mean=40.), *records('AMT', AMT, cost=.79),
            *records('random', [70., 75.], data_set='more photos')]
    photos, more, pooled = write_tables(both, STUDY, tmp_path)
    assert [file.name for file in (photos, more, pooled)] == [
        'photos.md', 'more-photos.md', 'pooled.md']
    text = photos.read_text()
    assert '| random |     3 |     30 |           0.50 |            1.00 | 31.6 ± 1.8 |' in text
    assert '| AMT          |     3 | +1.6 ± 7.3 |' in text
    # A data set without another recipe has nothing to compare.
    assert 'minus' not in more.read_text()
    rows = json.loads(photos.with_suffix('.json').read_text())
    assert rows[1]['knn']['difference'] == pytest.approx(1.5833, abs=1e-4)
    pooled_rows = json.loads(pooled.with_suffix('.json').read_text())
    assert 'mean' not in pooled_rows[0]['knn'] and pooled_rows[1]['knn']['pairs'] == 3
    assert len(write_tables(records('random', RANDOM), STUDY, tmp_path / 'one')) == 1
    assert write_tables([], STUDY, tmp_path / 'none') == []
