"""benchmark_store: that it measures what it says, on few samples, and leaves nothing behind."""

import importlib.util
import json
import sys
from collections import namedtuple
from pathlib import Path

import pytest
import torch

from amt_mm.errors import InputError
from amt_mm.saliency import SaliencyStore
from amt_mm.saliency.map_file import MapHeader

TOOL = Path(__file__).parents[2] / 'lab/benchmark_store.py'


@pytest.fixture(scope='module')
def tool():
    spec = importlib.util.spec_from_file_location('benchmark_store', TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules['benchmark_store'] = module  # its functions travel to the pool
    spec.loader.exec_module(module)
    yield module
    del sys.modules['benchmark_store']


class Bar:
    seen = 0

    def update(self, count):
        self.seen += count


@pytest.fixture
def header():
    return MapHeader.new(9001, (5, 7), 'float16', 'f', 0)


def test_it_writes_whole_files_and_parts_on_a_base(tool, header, tmp_path):
    bar = Bar()
    row = tool.write(tmp_path / 'all', header, None, bar)
    assert row['write'] > 0 and row['commit'] > 0
    base = SaliencyStore(tmp_path / 'all')
    tool.write(tmp_path / 'part', header, base, bar)
    assert bar.seen == 9001 + 9001 + 1126 + 9001
    store, all_rows = SaliencyStore(tmp_path / 'part'), torch.arange(9001)
    same = (store.lookup(all_rows) == base.lookup(all_rows)).flatten(1).all(dim=1)
    # Made-up maps repeat, so the first is its own.
    assert same[all_rows % 8 != 0].all() and not same[all_rows % 8 == 0][1:].any()


def test_dropping_says_the_truth(tool, tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(bytes(2**20))
    with open(path, 'rb') as file:
        file.read()
        assert tool._in_memory(file.fileno(), 2**19)
        if tool.drop(path):  # a file system in memory keeps it
            assert not tool._in_memory(file.fileno(), 2**19)


def run(tool, monkeypatch, tmp_path, *arguments):
    monkeypatch.setattr(tool, 'REPEATS', 2)
    monkeypatch.setattr(tool.signal, 'signal', lambda *_: None)
    monkeypatch.setattr(sys, 'argv', ['benchmark_store.py', *arguments, '--grid', '5', '7',
                                      '--folder', str(tmp_path / 'disk'),
                                      '--out', str(tmp_path / 'out')])
    tool.main()


def test_the_tables(tool, monkeypatch, tmp_path, capsys):
    run(tool, monkeypatch, tmp_path, '--samples', '2000', '500', '--dtype', 'uint8')
    assert not list((tmp_path / 'disk').iterdir())
    writing, reading = (json.loads((tmp_path / f'out-{name}.json').read_text())['rows']
                        for name in ('writing', 'reading'))
    assert [row['samples'] for row in writing] == [500, 2000]
    assert writing[1]['megabytes'] == (4096 + 4096 + 2000 * 35) / 1e6
    assert [row['times'] for row in reading] == [1, 4]
    assert reading[1]['open_ratio'] == reading[1]['open'] / reading[0]['open']
    assert all(row[name] > 0 for row in reading
               for name in ('open', 'verify', 'shared', 'lookup'))
    assert 'verify in 2 parts, s' in capsys.readouterr().out


def test_what_does_not_fit_is_one_line(tool, monkeypatch, tmp_path, capsys, header):
    usage = namedtuple('usage', 'free')
    monkeypatch.setattr(tool.shutil, 'disk_usage', lambda _: usage(1_000_000))
    with pytest.raises(InputError, match='9001 samples need 0.0 GB of disk, 0.0 GB are free'):
        tool.check_space(tmp_path, header)
    with pytest.raises(SystemExit) as exit_:
        run(tool, monkeypatch, tmp_path, '--samples', '1000000000')
    assert exit_.value.code == 2
    assert 'error: ' in capsys.readouterr().err
    assert not list((tmp_path / 'disk').iterdir())
