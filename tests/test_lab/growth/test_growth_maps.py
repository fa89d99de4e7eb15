"""What is measured of a file of maps is what a refresh, a resumed run and a step do."""

import pytest
import torch

from amt_mm.saliency import SaliencyStore
from amt_mm.saliency.map_file import MapHeader
from lab.growth import maps
from lab.growth.maps import drop, measure_maps, write


@pytest.fixture(autouse=True)
def _no_collection(monkeypatch):
    """Collecting garbage takes longer than all the rest."""
    monkeypatch.setattr('gc.collect', lambda: 0)


@pytest.fixture
def header():
    return MapHeader.new(9001, (5, 7), 'float16', 'f', 0)


def test_it_writes_whole_files_and_parts_on_a_base(header, tmp_path):
    assert write(tmp_path / 'all', header).seconds > 0
    base = SaliencyStore(tmp_path / 'all')
    write(tmp_path / 'part', header, base)
    store, all_rows = SaliencyStore(tmp_path / 'part'), torch.arange(9001)
    same = (store.lookup(all_rows) == base.lookup(all_rows)).flatten(1).all(dim=1)
    # Made-up maps repeat, so the first is its own.
    assert same[all_rows % 8 != 0].all() and not same[all_rows % 8 == 0][1:].any()


def test_dropping_says_the_truth(tmp_path):
    path = tmp_path / 'file'
    path.write_bytes(bytes(2**20))
    with open(path, 'rb') as file:
        file.read()
        assert maps._in_memory(file.fileno(), 2**19)
        if drop(path):  # a file system in memory keeps it
            assert not maps._in_memory(file.fileno(), 2**19)


def test_everything_is_measured_and_deleted(header, tmp_path, monkeypatch):
    monkeypatch.setattr(maps, 'REPEATS', 2)
    found = measure_maps(header, tmp_path)
    assert not list(tmp_path.iterdir())
    assert all(found[name].seconds > 0 for name in ('write', 'part', 'verify', 'open', 'lookup'))


def test_a_file_system_in_memory_has_no_times_from_disk(header, tmp_path, monkeypatch):
    monkeypatch.setattr(maps, 'drop', lambda path: False)
    found = measure_maps(header, tmp_path)
    assert found['lookup_disk'] is None and found['verify_disk'] is None
