"""Curves of evaluations by hand: means over runs, best weight decays, shares in order."""

import json

import pytest

from amt_mm.apis.evaluation_curves import curve_plots
from amt_mm.evaluation.kept import keep


class Run:
    def __init__(self, folder):
        self.work_dir = str(folder)


def result(folder, protocol, metrics=(), name='MAE'):
    return dict(pretraining=name, data='photos/', protocol=protocol, metrics=dict(metrics),
                folder=folder)


def only(results):
    plot, = curve_plots(results)
    return plot


def test_runs_of_one_name_are_averaged_where_all_of_them_were_measured(tmp_path):
    for name, records in (('a', {2: 10., 4: 30.}), ('b', {2: 20., 4: 50., 6: 60.}), ('c', {2: 7.})):
        folder = tmp_path / name / '20260101/vis_data'
        folder.mkdir(parents=True)
        lines = [{'loss': 1., 'step': 1}, *({'accuracy/top1': value, 'step': epoch}
                                            for epoch, value in records.items())]
        (folder / 'scalars.json').write_text(''.join(f'{json.dumps(line)}\n' for line in lines))
    plot = only([result(tmp_path / 'a', 'linear'), result(tmp_path / 'b', 'linear'),
                 result(tmp_path / 'c', 'linear', name='AMT')])
    assert (plot.title, plot.x_label) == ('linear, photos/', 'epoch')
    assert [(curve.label, list(curve.x), list(curve.y)) for curve in plot.curves] == [
        ('MAE', [2, 4], [15, 40]), ('AMT', [2], [7])]


def test_a_learning_rate_is_as_good_as_with_its_best_weight_decay(tmp_path):
    keep(Run(tmp_path), 'sweep_aim', lrs=[1e-3, 1e-3, 1e-2, 1e-2], weight_decays=[0, .1] * 2,
         held_out=[30., 20., 40., 45.])
    curve, = only([result(tmp_path, 'attentive')]).curves
    assert curve.x == pytest.approx([-3, -2]) and curve.y == [30, 45]


def test_shares_of_painted_patches_begin_with_the_whole_image(tmp_path):
    metrics = {'robustness/top1': 80., 'robustness/shuffle_2x2': 1., 'robustness/random_90': 20.,
               'robustness/random_10': 70., 'robustness/salient_10': 60.}
    plots = curve_plots([result(tmp_path, 'robustness', metrics)])
    found = {plot.title.split(',')[1]: plot.curves[0] for plot in plots}
    assert list(found) == [' random patches painted first', ' salient patches painted first']
    curve = found[' random patches painted first']
    assert (list(curve.x), list(curve.y)) == ([0, 10, 90], [80, 70, 20])


def test_protocols_without_either_have_no_curve(tmp_path):
    assert curve_plots([result(tmp_path, 'knn', {'knn/top1_k20': 50.})]) == []
