"""Maps opened by several processes, here threads that exchange as processes would."""

import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from threaded_ranks import ThreadedRanks
from torchrun import in_two_real_processes

from amt_mm import distributed
from amt_mm.errors import InputError
from amt_mm.guidance import map_reference
from amt_mm.guidance.map_reference import map_record, open_maps, restore_maps
from amt_mm.saliency import SaliencyStore, SaliencyWriter, map_file

NUMBER = 33


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """33 maps lie in 5 blocks."""
    monkeypatch.setattr(map_file, 'BLOCK_BYTES', 1)


@pytest.fixture
def ranks(monkeypatch):
    return ThreadedRanks(monkeypatch, map_reference, distributed)


def write(path, seed=0):
    writer = SaliencyWriter(path, NUMBER, (5, 7), 'f', 3)
    maps = torch.rand(NUMBER, 35, generator=torch.Generator().manual_seed(seed))
    writer.write(torch.arange(NUMBER), maps)
    return writer.commit()


def damage(path, sample):
    raw = bytearray(path.read_bytes())
    raw[(sample - NUMBER) * 70] ^= 4
    path.write_bytes(raw)


def runner(work_dir, load_from=None):
    return SimpleNamespace(work_dir=str(work_dir), _load_from=load_from)


@pytest.fixture
def compared(monkeypatch):
    """Blocks that were compared with the table, by all ranks."""
    blocks, original = [], SaliencyStore._check_block

    def spy(store, block, content):
        blocks.append(block)
        original(store, block, content)

    monkeypatch.setattr(SaliencyStore, '_check_block', spy)
    return blocks


@pytest.mark.parametrize('count', [1, 2, 3, 7])
def test_processes_share_the_verification(tmp_path, ranks, compared, count):
    path = write(tmp_path / 'maps')
    stores = ranks(count, lambda rank: open_maps(path, 'f', verify=True))
    assert all(isinstance(store, SaliencyStore) for store in stores)
    assert sorted(compared) == [0, 1, 2, 3, 4]


def test_each_node_verifies_what_it_sees(tmp_path, ranks, compared, monkeypatch):
    """Two nodes of three and two processes: each reads all blocks."""
    monkeypatch.setattr(socket, 'gethostname', lambda: 'ab'[ranks.rank % 2])
    path = write(tmp_path / 'maps')
    ranks(5, lambda rank: open_maps(path, 'f', verify=True))
    assert sorted(compared) == sorted([0, 1, 2, 3, 4] * 2)


def test_a_file_just_written_is_not_verified(tmp_path, ranks, compared):
    path = write(tmp_path / 'maps')
    ranks(2, lambda rank: open_maps(path, 'f', verify=False))
    assert not compared


@pytest.mark.parametrize('sample', [0, 15, 32])
def test_damage_that_one_process_finds_stops_all(tmp_path, ranks, sample):
    path = write(tmp_path / 'maps')
    damage(path, sample)
    errors = ranks(3, lambda rank: open_maps(path, 'f', verify=True))
    first = sample // 8 * 8
    for error in errors:
        assert isinstance(error, InputError)
        assert f'{path}: the maps of samples {first} to {min(first + 7, 32)} are damaged' in str(
            error)
        assert '\n' not in str(error)


def test_a_file_that_one_process_does_not_see_stops_all(tmp_path, ranks):
    path = write(tmp_path / 'maps')
    seen = [path, path, tmp_path / 'elsewhere']
    for verify in (True, False):
        for error in ranks(3, lambda rank, verify=verify: open_maps(seen[rank], 'f', verify)):
            assert isinstance(error, InputError)
            assert 'elsewhere: no such saliency map' in str(error)


def test_processes_that_see_different_files_stop(tmp_path, ranks):
    paths = [write(tmp_path / str(seed), seed) for seed in (0, 1)]
    for error in ranks(2, lambda rank: open_maps(paths[rank], 'f', verify=False)):
        assert isinstance(error, InputError)
        assert 'processes see different files' in str(error)


def test_maps_beside_the_checkpoint_are_copied_once_and_verified(tmp_path, ranks, compared):
    path = write(tmp_path / 'old/saliency/epoch_3.amtmap')
    reference = map_record(SaliencyStore(path, share=None))
    assert reference == dict(file='epoch_3.amtmap', step=3, fingerprint='f',
                             crc32=SaliencyStore(path, share=None).crc32)
    here = runner(tmp_path / 'new', str(tmp_path / 'old/epoch_3.pth'))
    stores = ranks(2, lambda rank: restore_maps(here, reference, 'f'))
    assert {store.path for store in stores} == {tmp_path / 'new/saliency/epoch_3.amtmap'}
    assert stores[0].path.read_bytes() == path.read_bytes()
    assert sorted(compared) == [0, 1, 2, 3, 4]
    assert [file.name for file in stores[0].path.parent.iterdir()] == ['epoch_3.amtmap']


@pytest.mark.parametrize(('case', 'line'), [
    ('gone', 'which are not in'), ('other', 'not the saliency maps of the checkpoint'),
    ('damaged', 'samples 16 to 23 are damaged'), ('data set', 'another data set')])
def test_maps_that_cannot_be_restored_stop_all(tmp_path, ranks, case, line):
    path = write(tmp_path / 'saliency/epoch_3.amtmap')
    reference = map_record(SaliencyStore(path))
    if case == 'gone':
        path.unlink()
    elif case == 'other':
        shutil.copy(write(tmp_path / 'other', 1), path)
    elif case == 'damaged':
        damage(path, 20)
    identity = 'g' if case == 'data set' else 'f'
    for error in ranks(2, lambda rank: restore_maps(runner(tmp_path), reference, identity)):
        assert isinstance(error, InputError)
        assert 'epoch_3.amtmap' in str(error) and line in str(error)


def test_maps_that_cannot_be_copied_stop_all(tmp_path, ranks, monkeypatch):
    path = write(tmp_path / 'old/saliency/epoch_3.amtmap')
    here = runner(tmp_path / 'new', str(tmp_path / 'old/epoch_3.pth'))

    def full(found, temporary):
        temporary.write_bytes(found.read_bytes()[:100])
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(shutil, 'copyfile', full)
    reference = map_record(SaliencyStore(path))
    for error in ranks(2, lambda rank: restore_maps(here, reference, 'f')):
        assert isinstance(error, InputError)
        assert f'copied there from {path.parent} (No space left on device)' in str(error)
    assert not list((tmp_path / 'new/saliency').iterdir())


def test_one_process_alone_needs_no_group(tmp_path):
    path = write(Path(tmp_path) / 'saliency/epoch_3.amtmap')
    store = restore_maps(runner(tmp_path), map_record(SaliencyStore(path)), 'f')
    assert store.path == path


@pytest.mark.slow
def test_two_real_processes(tmp_path):
    sound, broken = write(tmp_path / 'sound'), write(tmp_path / 'broken')
    damage(broken, 30)
    script = Path(__file__).parent / 'two_processes_maps.py'
    said = in_two_real_processes(script, broken, sound)
    said = sorted(line for line in said.splitlines() if line[:6] in ('opened', 'refuse'))
    assert said[:2] == [f'opened {SaliencyStore(sound).crc32}'] * 2
    assert said[2:] == [f'refused: {broken}: the maps of samples 24 to 31 are damaged (checksum '
                        'mismatch); resume from a checkpoint with other maps or restore this file '
                        'from a copy'] * 2
