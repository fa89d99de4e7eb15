"""lab.gpu_check: refused without a GPU, and a table of everything as a toy."""

import json
import sys

import pytest
import torch

from lab.gpu_check import __main__ as tool
from lab.gpu_check import steps
from lab.gpu_check.check import SKIPPED, Failed


@pytest.fixture(autouse=True)
def _no_collection(monkeypatch):
    """Collecting garbage takes longer than all the rest."""
    monkeypatch.setattr('gc.collect', lambda: 0)


def run(monkeypatch, tmp_path, *arguments):
    monkeypatch.setattr(sys, 'argv', ['gpu_check', *arguments, '--out', str(tmp_path / 'out')])
    tool.main()


@pytest.mark.skipif(torch.cuda.is_available(), reason='needs a machine without GPU')
def test_without_a_gpu_it_is_refused_in_one_line(monkeypatch, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, tmp_path)
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith('error: no GPU is found: run this on a machine')
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_the_table_has_everything(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tool, 'run_tests', lambda seconds: {'outcome': '2 passed'})
    # Takes a minute each on a CPU; that hosts compile, tests/test_engine/test_compiling.py holds.
    monkeypatch.setattr(steps, 'compile_host', lambda model, options: None)
    run(monkeypatch, tmp_path, '--toy', '--workers', '0', '--minutes', '60')
    content = json.loads((tmp_path / 'out.json').read_text())
    made = [line['check'] for line in content['checks']]
    assert made == (['matrix product'] * 2 + ['tests', 'waiting', 'refresh', 'k-NN']
                    + ['step'] * 5 + ['input pipeline'] + ['step'] * 8)
    assert not [line for line in content['checks'] if line['failed']], content
    assert all(line['images'] > 0 for line in content['checks'] if line['check'] == 'step')
    assert content['toy'] and content['versions']['torch'] == torch.__version__
    assert capsys.readouterr().out.startswith((tmp_path / 'out.md').read_text())


def test_what_there_is_no_time_for_is_in_the_table(monkeypatch, tmp_path, capsys):
    run(monkeypatch, tmp_path, '--toy', '--minutes', '1e-9')
    lines = json.loads((tmp_path / 'out.json').read_text())['checks']
    assert len(lines) == 20 and {line['outcome'] for line in lines} == {SKIPPED}
    assert capsys.readouterr().out.count(SKIPPED) == 20


def test_a_failed_check_is_status_1(monkeypatch, tmp_path):
    def fail():
        raise Failed('wrong')

    monkeypatch.setattr(tool, 'check_list', lambda *args: [tool.Check('a', 'b', fail)])
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, tmp_path, '--toy')
    assert stop.value.code == 1
    assert '| failed: wrong |' in (tmp_path / 'out.md').read_text()
