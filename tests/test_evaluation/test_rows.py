"""table_rows: one row of each pre-training and data set, beside the paper's figures."""

import statistics

import pytest

from amt_mm.evaluation.rows import table_rows


def run(pretraining, data, protocol, paper=None, **metrics):
    return dict(pretraining=pretraining, data=data, protocol=protocol, paper=paper,
                metrics={k.replace('__', '/'): v for k, v in metrics.items()})


def test_rows_average_runs_and_show_the_papers_figures():
    rows, columns = table_rows([
        run('ours', 'stl10', 'linear', 'MAE + AMT', accuracy__top1=80.0, accuracy__top5=99.0),
        run('ours', 'stl10', 'linear', 'MAE + AMT', accuracy__top1=83.0),
        run('MAE + AMT', 'cifar10', 'linear', accuracy__top1=50.25),
        run('mine', 'stl10', 'knn', knn__top1_k20=70.0, knn__top1_k10=1.0)])
    assert list(columns.values()) == ['pre-training', 'data set', 'k-NN, %', 'linear, %', 'paper']
    stl, small, mine = ([row.get(name) for name in columns] for row in rows)
    assert stl == ['ours', 'stl10', None, f'81.5 ± {statistics.stdev([80, 83]):.1f}', 86.8]
    # Of the same name, but not of the paper's transformer.
    assert small == ['MAE + AMT', 'cifar10', None, 50.25, None]
    assert mine == ['mine', 'stl10', 70.0, None, None]


def test_each_protocol_has_its_own_figure_of_the_paper():
    rows, columns = table_rows([
        run('a', 'in1k', 'linear', 'SimMIM', accuracy__top1=1.0),
        run('a', 'in1k', 'finetune', 'SimMIM', accuracy__top1=2.0)])
    # The paper probes no SimMIM linearly, so there is no empty column for it.
    assert list(columns) == ['pretraining', 'data', 'linear:accuracy/top1',
                             'finetune:accuracy/top1', 'finetune:paper']
    assert rows[0]['finetune:paper'] == 81.5


def test_figures_of_others_follow_the_metric_that_they_are_of():
    found = dict(attentive__ep_top1=70.0, attentive__aim_top1=69.0)
    rows, columns = table_rows([run('a', 'in1k', 'attentive', 'MAE', **found),
                                run('b', 'stl10', 'attentive', 'MAE', **found),
                                run('c', 'in1k', 'attentive', **found)])
    assert list(columns.values())[2:] == ['attentive, EP, %', 'published', 'attentive, AIM, %']
    assert [[row.get(name) for name in list(columns)[2:]] for row in rows] == [
        [70.0, 75.5, 69.0], [70.0, None, 69.0], [70.0, None, 69.0]]


@pytest.mark.parametrize('shots', [1, 20])
def test_low_shot_has_a_column_per_number_of_images(shots):
    rows, columns = table_rows([
        run('a', 'b', 'lowshot', **{f'lowshot__top1_{shots}shot': 30.0,
                                    f'lowshot__top1_{shots}shot_std': 2.0})])
    assert list(columns.values())[2:] == [f'{shots} per class, %']
    assert rows[0][f'lowshot:lowshot/top1_{shots}shot'] == '30.0 ± 2.0'


def test_measures_that_are_no_percentages_keep_three_decimals():
    both = [run('a', 'b', 'unsupervised', unsupervised__nmi=nmi, unsupervised__alignment=alignment)
            for nmi, alignment in ((9.04, .0204), (10.04, .0356))]
    shown = [{name.partition('/')[2]: cell for name, cell in table_rows(runs)[0][0].items()}
             for runs in (both, both[:1])]
    assert (shown[0]['alignment'], shown[0]['nmi']) == ('0.028 ± 0.011', '9.5 ± 0.7')
    assert (shown[1]['alignment'], shown[1]['nmi']) == (.02, 9.04)
