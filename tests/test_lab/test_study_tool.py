"""``python -m lab.study`` as a user runs it: stopped, resumed, a failure, tables, refusals."""

import json
import signal
import time
from pathlib import Path

import pytest
from forked_script import run_script, started
from toy_study import AMT, RANDOM, RECIPES, lines, write_study

ROOT = Path(__file__).parents[2]
STUDY = ROOT / 'lab/study/__main__.py'


def study(*arguments):
    return run_script(STUDY, *arguments, timeout=600)


@pytest.mark.slow
def test_a_study_is_ended_gone_on_with_and_compared(tmp_path):
    file, out = write_study(tmp_path, datasets=['a'], seeds=[0], recipes={
        **RECIPES,
        # Refused by training; planning does not look at samplers.
        'broken': dict(overlay=RANDOM, options={'train_dataloader.sampler.type': 'Nope'})},
        options={'train_cfg.max_epochs': 12}), tmp_path / 'out'
    random = out / 'a/random/seed_0'
    with started(STUDY, file, '--work-dir', out) as process:
        while not (random / 'epoch_2.pth').is_file():
            assert process.exitcode is None, process.stderr.read_text()
            time.sleep(.01)
        process.terminate()
        process.join(60)
        assert process.exitcode == 128 + signal.SIGTERM
    assert not (random / 'epoch_12.pth').is_file() and not (out / 'a/AMT-equal').exists()

    done = study(file, '--work-dir', out, '--jobs', 2)
    assert done.returncode == 1, done.stderr
    assert '1 of 3 runs failed:' in done.stderr
    assert f'see {out / "a/broken/seed_0/train.log"}' in done.stderr
    # Each epoch of the broken run was trained once.
    scalars = [json.loads(line) for log in random.glob('*/vis_data/scalars.json')
               for line in log.read_text().splitlines()]
    assert sorted(record['step'] for record in scalars if 'loss' in record) == list(range(1, 37))
    records = lines(out)
    assert [record['recipe'] for record in records] == ['random', 'AMT, equal']
    assert records[0]['epochs'] == 12 < records[1]['epochs']
    assert records[1]['relative_cost'] == pytest.approx(1, abs=.05)
    assert all(0 <= record['knn'] <= 100 and 0 < record['attention_on_object'] < 100
               for record in records)
    table = json.loads((out / 'tables/a.json').read_text())
    assert table[1]['knn']['difference'] == records[1]['knn'] - records[0]['knn']
    assert '| AMT, equal' in done.stdout and 'minus random' in done.stdout
    assert (out / 'plots/a_differences.png').is_file()

    stamp = (random / 'result.json').stat().st_mtime_ns
    (out / 'runs.jsonl').unlink()
    again = study(file, '--work-dir', out, '--recipes', 'random', 'AMT, equal')
    assert again.returncode == 0 and '2 of 2 runs are finished' in again.stdout
    assert (random / 'result.json').stat().st_mtime_ns == stamp
    assert lines(out) == records

    (out / 'runs.jsonl').unlink()
    part = study(file, '--work-dir', out, '--table', '--recipes', 'AMT, equal')
    assert part.returncode == 0, part.stderr
    # With the baseline, so it is all there is.
    assert (out / 'part/tables/a.md').read_text() == (out / 'tables/a.md').read_text()
    assert (out / 'part/tables/a.md').read_text() in part.stdout
    assert (out / 'part/plots/a_cost.svg').is_file()
    part = study(file, '--work-dir', out, '--table', '--recipes', 'random')
    assert '| random' in part.stdout and 'AMT' not in part.stdout
    assert not (out / 'runs.jsonl').exists()

    write_study(tmp_path, datasets=['a'], seeds=[0], options={'train_cfg.max_epochs': 12},
                recipes={**RECIPES, 'AMT, equal': dict(overlay=AMT)})
    changed = study(file, '--work-dir', out, '--table')
    assert changed.returncode == 2 and changed.stderr.count('\n') <= 2
    assert 'a/AMT-equal/seed_0 holds a run of other settings' in changed.stderr


@pytest.mark.slow
def test_what_would_be_run(tmp_path):
    file = write_study(tmp_path)
    dry = study(file, '--work-dir', tmp_path / 'out', '--dry-run', '--seeds', 1)
    assert dry.returncode == 0 and not (tmp_path / 'out').exists()
    rows = [[cell.strip() for cell in line.split('|')[1:-1]] for line in dry.stdout.splitlines()
            if line.startswith('| a ') or line.startswith('| b ')]
    assert [row[:3] for row in rows] == [[name, recipe, '1'] for name in 'ab'
                                         for recipe in ('random', 'AMT, equal')]
    assert rows[0][3:] == ['4', '1.000', '1.000', 'to do'] and rows[1][3] == '5'
    part = study(file, '--work-dir', tmp_path / 'out', '--table', '--seeds', 1)
    assert part.returncode == 0 and not list((tmp_path / 'out').iterdir())
    assert part.stdout.strip().endswith('No run of it is finished')
    empty = study(file, '--work-dir', tmp_path / 'out', '--table')
    assert empty.returncode == 0, empty.stderr
    assert (tmp_path / 'out/runs.jsonl').read_text() == ''


@pytest.mark.slow
@pytest.mark.parametrize(('arguments', 'message'), [
    (['--recipes', 'amt'], '--recipes amt: the study has random; AMT, equal'),
    (['--jobs', 0], '--jobs must be at least 1')])
def test_refusals_are_one_line(tmp_path, arguments, message):
    done = study(write_study(tmp_path), *arguments, '--work-dir', tmp_path / 'out')
    assert done.returncode == 2
    assert message in done.stderr and 'Traceback' not in done.stderr
