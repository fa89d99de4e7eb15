"""Running a grid: tools of the test's own stand for training and judging."""

import json
import textwrap

import pytest
from mmengine.config import Config
from toy_study import AMT, RANDOM, RECIPES, write_study

import amt_mm
from amt_mm.apis import jobs
from amt_mm.errors import InputError
from lab.study.planning import grid, plan_study
from lab.study.records import write_list
from lab.study.running import finished_result, run_all
from lab.study.study_file import read_study

TRAIN = '''
import json, os, sys, time
from pathlib import Path
settings, folder = Path(sys.argv[1]), Path(sys.argv[3])
with open(folder.parents[2] / 'order', 'a') as file:
    print(folder.relative_to(folder.parents[2]), os.environ.get('CUDA_VISIBLE_DEVICES'), file=file)
text = settings.read_text()
if "batch_size=13" in text:
    print('no such batch')
    sys.exit(1)
place = folder.parents[2] / f"gpu{os.environ.get('CUDA_VISIBLE_DEVICES')}"
if 'CUDA_VISIBLE_DEVICES' in os.environ:
    place.touch(exist_ok=False)
    time.sleep(.3)
    place.unlink()
scalars = folder / '1' / 'vis_data'
scalars.mkdir(parents=True)
with open(scalars / 'scalars.json', 'w') as file:
    for time_of_step in (9, .5, .5, .5):
        print(json.dumps({'time': time_of_step}), file=file)
    print(json.dumps({'saliency/seconds': 2}), file=file)
epochs = 4 if 'max_epochs=4' in text else 5
(folder / f'epoch_{epochs}.pth').touch()
print('OMP', os.environ.get('OMP_NUM_THREADS'))
'''
JUDGE = '''
import json, sys
from pathlib import Path
assert Path(sys.argv[2]).is_file()
Path(sys.argv[4], 'measures.json').write_text(json.dumps({'knn': 42.5}))
'''


@pytest.fixture
def tools(tmp_path, monkeypatch):
    folder = tmp_path / 'tools'
    folder.mkdir()
    (folder / 'train.py').write_text(textwrap.dedent(TRAIN))
    (folder / 'judge.py').write_text(textwrap.dedent(JUDGE))
    monkeypatch.setattr(jobs, 'tools_folder', lambda: folder)


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    """Plans of a toy study of two data sets."""
    file = write_study(tmp_path_factory.mktemp('study'))
    return plan_study(read_study(file))


def order(work_dir, column=0):
    return [line.split()[column] for line in (work_dir / 'order').read_text().splitlines()]


@pytest.mark.slow
def test_a_grid_is_run_seed_by_seed_and_recorded(tools, toy, tmp_path):
    runs, calls = grid(toy, (0, 1)), []
    failed = run_all(runs, 'toy', tmp_path / 'out', after_each=lambda: calls.append(1))
    assert failed == {} and len(calls) == len(runs) == 8
    assert order(tmp_path / 'out') == [
        f'{dataset}/{recipe}/seed_{seed}' for seed in (0, 1) for dataset in 'ab'
        for recipe in ('random', 'AMT-equal')]
    record = finished_result(runs[1], tmp_path / 'out')
    plan = runs[1].plan
    assert (record['study'], record['recipe'], record['data_set'], record['seed']) == (
        'toy', 'AMT, equal', 'a', 0)
    assert (record['epochs'], record['images'], record['knn']) == (5, 20, 42.5)
    assert record['multiply_adds'] == 20 * plan.cost.total
    assert record['relative_cost'] == plan.relative_cost == pytest.approx(1, abs=.1)
    assert record['relative_step_cost'] == plan.relative_step < .7
    # 3 steps an epoch, the last of 4 images; a refresh took 2 seconds.
    assert record['seconds'] == 5 * 3 * .5 + 2 and record['images_per_second'] == 16
    assert record['version'] == amt_mm.__version__
    config = tmp_path / 'out' / record['config']
    assert Config.fromfile(config).randomness.seed == 0
    file = write_list([record, record], tmp_path / 'out')
    assert [json.loads(line) for line in file.read_text().splitlines()] == [record] * 2


@pytest.mark.slow
def test_one_that_fails_does_not_end_the_others(tools, tmp_path):
    broken = dict(overlay=RANDOM, options={'train_dataloader.batch_size': 13})
    study = read_study(write_study(tmp_path, datasets=['a'], seeds=[0], recipes={
        'random': dict(overlay=RANDOM), 'broken': broken, 'AMT': dict(overlay=AMT)}))
    runs = grid(plan_study(study), [0])
    work_dir = tmp_path / 'out'
    failed = run_all(runs, 'toy', work_dir, jobs=2)
    assert list(failed) == ['a, broken, seed 0']
    log = work_dir / 'a/broken/seed_0/train.log'
    assert failed['a, broken, seed 0'].endswith(f'see {log}')
    assert log.read_text() == 'no such batch\n'
    assert [bool(finished_result(run, work_dir)) for run in runs] == [True, False, True]
    assert 'OMP 1' in (work_dir / 'a/AMT/seed_0/train.log').read_text()


def test_a_fault_of_the_program_ends_that_run_alone(tools, toy, tmp_path, monkeypatch, capsys):
    def fault(run, *_):
        if run.seed == 1:
            raise KeyError('a fault')
        return {}
    monkeypatch.setattr('lab.study.running.describe', fault)
    runs = [run for run in grid(toy, (0, 1)) if run.plan is toy[0]]
    assert run_all(runs, 'toy', tmp_path / 'out') == {'a, random, seed 1': "KeyError: 'a fault'"}
    assert 'Traceback' in capsys.readouterr().out


@pytest.mark.slow
def test_a_gpu_has_one_run_at_a_time(tools, toy, tmp_path):
    """Training fails if its GPU is taken; in the end each has had some."""
    runs = grid(toy, (0, 1))
    assert run_all(runs, 'toy', tmp_path / 'out', gpus=['3', '5']) == {}
    assert not list((tmp_path / 'out').glob('gpu*'))
    assert len(order(tmp_path / 'out')) == len(runs)
    assert set(order(tmp_path / 'out', 1)) == {'3', '5'}


@pytest.mark.slow
def test_costs_are_relative_to_the_baseline_of_today(tools, tmp_path):
    amt = dict(overlay=AMT, shares=RECIPES['AMT, equal']['shares'])
    recipes, found = {'random': dict(overlay=RANDOM), 'AMT': amt}, []
    for baseline in recipes:
        study = read_study(write_study(tmp_path, datasets=['a'], recipes=recipes,
                                       baseline=baseline))
        runs = {run.plan.recipe: run for run in grid(plan_study(study), [0])}
        if not found:
            run_all(list(runs.values()), 'toy', tmp_path / 'out')
        found.append({name: finished_result(run, tmp_path / 'out') for name, run in runs.items()})
    for key in ('relative_step_cost', 'relative_cost'):
        before, after = ({name: record[key] for name, record in each.items()} for each in found)
        assert before['random'] == after['AMT'] == 1
        assert after['random'] == pytest.approx(1 / before['AMT']) != 1


@pytest.mark.slow
def test_a_changed_recipe_is_refused(tools, toy, tmp_path):
    run = grid(toy, [0])[0]
    assert finished_result(run, tmp_path / 'out') is None
    run_all([run], 'toy', tmp_path / 'out')
    study = read_study(write_study(tmp_path, options={'optim_wrapper.optimizer.lr': 1}))
    changed = grid(plan_study(study), [0])[0]
    with pytest.raises(InputError, match='a/random/seed_0 holds a run of other settings'):
        finished_result(changed, tmp_path / 'out')
    # Nor does it train beside a settings file that a run has only begun with.
    (run.folder(tmp_path / 'out') / 'result.json').unlink()
    assert 'other settings' in run_all([changed], 'toy', tmp_path / 'out')[changed.name]


def test_what_is_trained_is_only_judged_again(tools, toy, tmp_path):
    run = grid(toy, [0])[0]
    run_all([run], 'toy', tmp_path / 'out')
    (run.folder(tmp_path / 'out') / 'result.json').unlink()
    assert run_all([run], 'toy', tmp_path / 'out') == {}
    assert len(order(tmp_path / 'out')) == 1 and finished_result(run, tmp_path / 'out')
