"""lab.growth: the tables of few samples, and what it refuses."""

import json
import sys
from collections import namedtuple

import pytest

from amt_mm.errors import InputError
from amt_mm.saliency.map_file import MapHeader
from lab.growth import __main__ as tool
from lab.growth import maps


def run(monkeypatch, tmp_path, *arguments):
    monkeypatch.setattr(maps, 'REPEATS', 2)
    monkeypatch.setattr('gc.collect', lambda: 0)  # takes longer than all the rest
    monkeypatch.setattr(tool.signal, 'signal', lambda *_: None)
    monkeypatch.setattr(tool, 'alone', lambda measure, *given: measure(*given))
    monkeypatch.setattr(sys, 'argv', ['growth', *arguments, '--grid', '5', '7',
                                      '--folder', str(tmp_path / 'disk'),
                                      '--out', str(tmp_path / 'out')])
    tool.main()


@pytest.mark.slow
def test_the_tables(monkeypatch, tmp_path, capsys):
    run(monkeypatch, tmp_path, '--samples', '2000', '500', '--dtype', 'uint8')
    assert not list((tmp_path / 'disk').iterdir())
    content = json.loads((tmp_path / 'out.json').read_text())
    assert [each['samples'] for each in content['costs']] == [500, 2000]
    assert content['dtype'] == 'uint8'
    assert all(each[name]['seconds'] > 0 for each in content['costs']
               for name in ('list', 'fingerprint', 'order', 'write', 'part', 'verify', 'lookup'))
    said = capsys.readouterr().out
    assert '|  2,000 |' in said or '| 2,000 |' in said
    assert said.startswith((tmp_path / 'out.md').read_text())
    assert (tmp_path / 'out.png').is_file() and (tmp_path / 'out.svg').is_file()


def test_what_does_not_fit_on_the_disk_is_one_line(monkeypatch, tmp_path, capsys):
    usage = namedtuple('usage', 'free')
    monkeypatch.setattr(tool.shutil, 'disk_usage', lambda _: usage(1_000_000))
    with pytest.raises(InputError, match='9001 samples need 0.0 GB of disk, 0.0 GB are free'):
        tool.check_space(tmp_path, MapHeader.new(9001, (5, 7), 'float16', 'f', 0))
    with pytest.raises(SystemExit) as exit_:
        run(monkeypatch, tmp_path, '--samples', '1000000000')
    assert exit_.value.code == 2
    assert 'error: ' in capsys.readouterr().err
    assert not list((tmp_path / 'disk').iterdir())


def test_a_list_that_memory_does_not_hold_is_left_out(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(tool, 'memory_suffices', lambda count: False)
    run(monkeypatch, tmp_path, '--samples', '500')
    costs, = json.loads((tmp_path / 'out.json').read_text())['costs']
    assert 'list' not in costs and costs['write']['seconds'] > 0


def test_memory_is_compared_with_what_is_free(capsys):
    assert tool.memory_suffices(1000)
    assert not tool.memory_suffices(10**12)
    assert '1000000000000 samples in a list need 1000000.0 GB' in capsys.readouterr().err


@pytest.mark.slow
def test_a_fresh_process_measures():
    assert tool.alone(dict, [('a', 1)]) == {'a': 1}
