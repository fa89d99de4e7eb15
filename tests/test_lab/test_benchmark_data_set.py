"""benchmark_data_set: what it counts, against sizes that are known."""

import json
import mmap
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from load_script import load_script

from amt_mm.datasets import dataset_fingerprint
from amt_mm.saliency import fingerprint

TOOL = Path(__file__).parents[2] / 'lab/benchmark_data_set.py'


@pytest.fixture(scope='module')
def tool():
    return load_script(TOOL)


@pytest.fixture(autouse=True)
def _no_collection(monkeypatch):
    """Collecting garbage takes longer than all the rest."""
    monkeypatch.setattr('gc.collect', lambda: 0)


def test_memory_is_counted_at_its_highest_and_at_the_end(tool):
    def taken(count):
        # Pages of its own: malloc may hand out what earlier tests have freed.
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        pages = mmap.mmap(-1, count, flags=flags)
        np.frombuffer(pages, np.uint8)[:] = 1
        return pages

    def work():
        taken(2**27).close()  # 128 MiB for a while
        return taken(2**25)  # 32 MiB to keep

    kept, seconds, highest, end = tool.cost(work)
    assert len(kept) == 2**25 and seconds > 0
    assert highest == pytest.approx(2**27, rel=.1)
    assert end == pytest.approx(2**25, rel=.2)


def test_a_fork_gives_its_result(tool):
    assert tool.in_fork(lambda: 7) == 7


def test_what_a_worker_changes_is_counted_and_what_it_reads_is_not(tool):
    class Samples(list):
        content = np.ones(2**21)  # 16 MiB

        def __init__(self, work):
            super().__init__([0])
            self.get_data_info = lambda index: work(self.content)

    changed = tool.in_fork(lambda: tool.read_all(Samples(lambda content: content.fill(2))))
    assert changed == pytest.approx(2**24, rel=.1)
    assert tool.in_fork(lambda: tool.read_all(Samples(np.sum))) < 2**21


def test_names_are_imagenets(tool):
    dataset = tool.MadeUp(1302)
    assert dataset.get_data_info(1301)['img_path'] == (
        'data/imagenet/train/n00000001/n00000001_1.JPEG')
    names = [f'n{i // 1300:08d}/n{i // 1300:08d}_{i % 1300}.JPEG' for i in range(1302)]
    assert dataset_fingerprint(dataset) == fingerprint(names)


@pytest.mark.slow
def test_costs_of_a_sample():
    """In a process of its own: one that has freed memory before takes less from the system."""
    code = (f'import json, runpy; tool = runpy.run_path({str(TOOL)!r}); print(json.dumps('
            '{**tool["measure_infos"](20000), **tool["measure_sampler"](400000)}))')
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    row = json.loads(done.stdout.splitlines()[-1])
    # A path of 45 letters, two keys, a label; and where it begins.
    assert 80 < row['serialised'] < 120
    assert row['load_peak'] > row['serialised']
    assert row['hash'] < row['fingerprint'] and row['read'] < 2 * row['fingerprint']
    # Integers of 32 bytes in a list of 8-byte pointers, some in memory that was free before.
    assert 20 < row['sampler_kept'] < 60 and row['sampler_peak'] > 20


def test_the_table(tool, monkeypatch, tmp_path, capsys):
    class Here:
        def __init__(self, *_, **__):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def submit(self, work, count):
            self.result = lambda: work(count)
            return self

    monkeypatch.setattr(tool, 'ProcessPoolExecutor', Here)
    monkeypatch.setattr(sys, 'argv', ['benchmark_data_set.py', '--samples', '3000', '1000', '--out',
                                      str(tmp_path / 'out')])
    tool.main()
    rows = json.loads((tmp_path / 'out.json').read_text())['rows']
    assert [row['samples'] for row in rows] == [1000, 3000]
    assert set(rows[0]) == set(tool.COLUMNS)
    assert '| 3000' in capsys.readouterr().out
