"""lab/benchmark/__main__.py from the command line: tables, all rounds, one-line errors."""

import json
import os
from pathlib import Path

import pytest
from forked_script import run_script

from lab.benchmark.batches import make_images

ROOT = Path(__file__).parents[2]
CONFIGS = [str(ROOT / f'configs/quickstart/{name}_vit-mini-p8_1xb128-coslr-24e_scenes.py')
           for name in ('mae', 'mae-amt')]


def benchmark(*arguments, tool='benchmark/__main__.py', threads='1'):
    return run_script(ROOT / 'lab' / tool, *arguments,
                      env={**os.environ, 'OMP_NUM_THREADS': threads})


@pytest.mark.slow
def test_two_configs_read_a_folder(tmp_path):
    images = make_images(tmp_path / 'images', 3)
    done = benchmark(*CONFIGS, '--batch-size', 2, '--rounds', 2, '--warm-up', 1, '--data', images,
                     '--out', tmp_path / 'out')
    assert done.returncode == 0, done.stderr
    assert '2 rounds in turn, batch 2, fp32, cpu, 1 threads' in done.stdout
    found = json.loads((tmp_path / 'out.json').read_text())
    assert [len(each['seconds']['data']) for each in found['contestants']] == [2, 2]
    first, second = found['contestants']
    assert min(first['seconds']['data']) > 0 and first['step_ratio'] == 1
    # 26 of 64 tokens are thrown, and most of the products are on tokens.
    assert second['multiply_adds_an_image'] < .7 * first['multiply_adds_an_image']
    assert first['peak_bytes'] > 3 * 4 * 2.7e6  # parameters and two moments, fp32
    assert found['data'] == str(images) and found['precision'] == 'fp32'


@pytest.mark.parametrize(('arguments', 'text'), [
    (['none.py'], 'error: config none.py: there is no such file'),
    (['nothing::a/b.py'], 'error: config nothing::a/b.py: no package nothing with configs'),
    ([CONFIGS[0], '--data', 'nowhere'], 'nowhere')])
def test_wrong_input_is_one_line(arguments, text, tmp_path):
    done = benchmark(*arguments, '--out', tmp_path / 'out')
    assert done.returncode == 2
    line, = [line for line in done.stderr.splitlines() if line.startswith('error')]
    assert text in line and 'Traceback' not in done.stderr


def test_no_rounds_are_refused():
    done = benchmark(CONFIGS[0], '--rounds', 0)
    assert done.returncode == 2 and 'must be at least 1' in done.stderr


def test_processor_time_of_two_threads_is_refused():
    done = benchmark(CONFIGS[0], '--processor-time', threads='2')
    assert done.returncode == 2 and 'set OMP_NUM_THREADS=1' in done.stderr


@pytest.mark.slow
def test_the_cost_table_measures_too(tmp_path):
    done = benchmark(*CONFIGS, '--batch-size', 2, '--rounds', 1, '--out', tmp_path / 'out',
                     tool='cost_table.py')
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / 'out.json').read_text())['rows']
    assert rows[0]['measured'] == 1 and rows[1]['seconds'] > 0
