"""Plots: the numbers are where they belong, whatever is missing."""

import pytest
from PIL import Image

from lab.study.plots import differences, over_cost, write_plots
from lab.study.study_file import Recipe, Study
from lab.study.tables import summary

STUDY = Study('s', 'random', (0, 1, 2), {'photos': '', 'more': ''},
              {name: Recipe(name, ()) for name in ('random', 'AMT', 'late')}, {})


def records(seeds=3, data_set='photos', cost=True):
    shift = {'random': [0, 0, 0], 'AMT': [1, 2, 1.5], 'late': [-3, -1, -2]}
    return [dict(recipe=recipe, seed=seed, data_set=data_set, epochs=30, relative_step_cost=1,
                 relative_cost=[1, .79, .8][i] if cost else None, knn=30 + seed + by[seed])
            for i, (recipe, by) in enumerate(shift.items()) for seed in range(seeds)]


def test_differences_are_sorted_dots_with_intervals():
    rows = summary(records(), STUDY)
    axes, = differences(rows, 'random', 'photos').axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ['late', 'AMT']
    dots = [tuple(line.get_xydata()[0]) for line in axes.lines if line.get_marker() == 'o']
    assert dots == [(-2, 0), (1.5, 1)]
    bars = [part.get_segments()[0] for part in axes.collections]
    # sd of 1 and of .5; Student's t of 2 degrees of freedom over the root of 3.
    assert bars[0][:, 0] == pytest.approx([-2 - 2.4841, -2 + 2.4841], abs=1e-3)
    assert bars[1][:, 0] == pytest.approx([1.5 - 1.2421, 1.5 + 1.2421], abs=1e-3)
    assert axes.get_xlabel() == 'points, minus random'


def test_an_interval_far_wider_than_the_rest_is_cut():
    rows = summary(records(), STUDY)
    rows[1]['knn']['half_width'] = 40.
    axes, = differences(rows, 'random', 'photos').axes
    low, high = axes.get_xlim()
    assert -30 < low < -2 and 1.5 < high < 30
    cut = [line.get_xdata()[0] for line in axes.lines if line.get_marker() in '<>']
    assert cut == [low, high]


def test_one_pair_is_a_hollow_dot():
    axes, = differences(summary(records(1), STUDY), 'random', 'photos').axes
    assert not axes.collections
    assert {line.get_markerfacecolor() for line in axes.lines
            if line.get_marker() == 'o'} == {'white'}


def test_accuracy_over_cost_has_numbers_that_do_not_cover_each_other():
    axes, = over_cost(summary(records(), STUDY), 'photos').axes
    dots = [line.get_xydata()[0] for line in axes.lines if line.get_marker() == 'o']
    assert [tuple(dot) for dot in dots] == [(1, 31), (.79, 32.5), (.8, 29)]
    # Two of one accuracy.
    rows = summary(records(), STUDY)
    rows[2]['knn'] |= {'mean': rows[1]['knn']['mean']}
    axes, = over_cost(rows, 'photos').axes
    heights = {text.get_text(): text.xy[1] for text in axes.texts if text.get_text().isdigit()}
    low, high = axes.get_ylim()
    assert abs(heights['3'] - heights['2']) > .03 * (high - low)


def test_more_than_three_panels_are_rows_below_each_other_with_one_key():
    names = ('knn', 'linear_mean', 'linear_cls', 'attention_on_object', 'knn_cv')
    rows = summary([{**record, **dict.fromkeys(names, 30. + i)}
                    for i, record in enumerate(records())], STUDY)
    for figure in (over_cost(rows, 'photos'), differences(rows, 'random', 'photos')):
        places = [(axes.get_subplotspec().rowspan.start, axes.get_subplotspec().colspan.start)
                  for axes in figure.axes]
        assert places == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    keys = [axes for axes in over_cost(rows, 'photos').axes
            if any('3  late' in text.get_text() for text in axes.texts)]
    assert [axes.get_subplotspec().colspan.start for axes in keys] == [2]


@pytest.mark.slow
def test_files_are_pictures_and_the_same_each_time(tmp_path):
    both = records() + records(2, 'more')
    first = [file.read_bytes() for file in write_plots(both, STUDY, tmp_path)]
    again = write_plots(both, STUDY, tmp_path)
    assert [file.name for file in again] == [
        'photos_differences.svg', 'photos_cost.svg', 'more_differences.svg', 'more_cost.svg',
        'pooled_differences.svg']
    assert [file.read_bytes() for file in again] == first
    for file in again:
        assert Image.open(file.with_suffix('.png')).size[0] > 300
        assert b'<svg' in file.read_bytes()


def test_nothing_to_draw_is_no_picture(tmp_path):
    only = [record for record in records(cost=False) if record['recipe'] == 'random']
    assert write_plots(only, STUDY, tmp_path) == []
    assert over_cost(summary(records(cost=False), STUDY), 'photos') is None
