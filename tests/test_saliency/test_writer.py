import errno
import os

import numpy as np
import pytest
import torch

from amt_mm.errors import InputError
from amt_mm.saliency import SaliencyStore, SaliencyWriter, fingerprint, map_file

GRID, NUMBER = (5, 7), 27
NAMES = [f'class/{index}.jpg' for index in range(NUMBER)]
IDENTITY = fingerprint(NAMES)
STEP = {'float16': 2**-11, 'uint8': .5 / 255}
ALL = torch.arange(NUMBER)


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """Store 27 maps in blocks of 8, 8, 8 and 3."""
    monkeypatch.setattr(map_file, 'BLOCK_BYTES', 600)


def random_maps(seed=0):
    return torch.rand(NUMBER, 35, generator=torch.Generator().manual_seed(seed))


def write(path, maps, dtype='float16', step=40, rows=ALL, base=None, batch=4):
    writer = SaliencyWriter(path, NUMBER, GRID, IDENTITY, step, dtype, base)
    for some in rows.split(batch):
        writer.write(some, maps[some])
    return writer.commit()


def test_last_write_of_a_row_wins(tmp_path):
    maps = random_maps()
    writer = SaliencyWriter(tmp_path / 'maps', NUMBER, GRID, 'f')
    writer.write(ALL, torch.zeros_like(maps))
    for some in ALL.flip(0).split(5):
        writer.write(some, maps[some])
    found = SaliencyStore(writer.commit()).lookup(ALL)
    torch.testing.assert_close(found.flatten(1), maps, rtol=0, atol=STEP['float16'])


def test_unwritten_row_is_named(tmp_path):
    maps = random_maps()
    path = write(tmp_path / 'maps', maps)
    before = path.read_bytes()
    writer = SaliencyWriter(path, NUMBER, GRID, IDENTITY)
    some = ALL[(ALL != 12) & (ALL != 25)]
    writer.write(some, maps[some])
    with pytest.raises(RuntimeError, match='2 of 27 .* sample 12'):
        writer.commit()
    assert path.read_bytes() == before


def test_abandoned_writer_leaves_the_old_file_unchanged(tmp_path):
    path = write(tmp_path / 'maps', random_maps(), step=40)
    before = path.read_bytes()
    writer = SaliencyWriter(path, NUMBER, GRID, IDENTITY, step=80)
    writer.write(ALL, random_maps(5))
    del writer  # a crash before the commit
    assert path.read_bytes() == before
    assert SaliencyStore(path, IDENTITY).step == 40
    # Its temporary file does not disturb the next writer, whose file may be smaller.
    short = SaliencyWriter(path, 2, GRID, 'f', step=120)
    short.write(torch.arange(2), random_maps(6)[:2])
    assert SaliencyStore(short.commit(), 'f').step == 120


def test_with_statement_deletes_an_uncommitted_file(tmp_path):
    with pytest.raises(KeyboardInterrupt), SaliencyWriter(tmp_path / 'maps', NUMBER, GRID, 'f'):
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []
    with SaliencyWriter(tmp_path / 'maps', NUMBER, GRID, 'f') as writer:
        writer.write(ALL, random_maps())
        writer.commit()
    assert os.listdir(tmp_path) == ['maps']


def test_unknown_dtype_is_rejected(tmp_path):
    with pytest.raises(InputError, match="dtype='float8'"):
        SaliencyWriter(tmp_path / 'maps', NUMBER, GRID, 'f', dtype='float8')
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('order', ['in order', 'backwards', 'any', 'odd rows first'])
@pytest.mark.parametrize('batch', [1, 5, 27])
def test_file_does_not_depend_on_the_order_of_writes(tmp_path, order, batch):
    maps = random_maps()
    rows = {'in order': ALL, 'backwards': ALL.flip(0), 'odd rows first': ALL.roll(13) * 2 % 27,
            'any': torch.randperm(NUMBER, generator=torch.Generator().manual_seed(2))}[order]
    found = write(tmp_path / 'maps', maps, rows=rows, batch=batch)
    wanted = write(tmp_path / 'wanted', maps)
    assert found.read_bytes() == wanted.read_bytes()


def test_ordered_rows_are_finished_before_the_commit(tmp_path, monkeypatch):
    writer = SaliencyWriter(tmp_path / 'maps', NUMBER, GRID, 'f')
    writer.write(ALL, random_maps())
    monkeypatch.setattr(SaliencyWriter, '_finish', None)
    writer.commit()
    SaliencyStore(tmp_path / 'maps')


def test_memory_use_is_one_bit_per_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(map_file, 'BLOCK_BYTES', 2**20)
    writer = SaliencyWriter(tmp_path / 'maps', 10**6, (2, 2), 'f', dtype='uint8')
    kept = sum(value.nbytes for value in vars(writer).values()
               if isinstance(value, np.ndarray) and not isinstance(value, np.memmap))
    assert kept < 10**6 / 8 + 1000


@pytest.mark.parametrize('rows', [[-1], [NUMBER], [0, 5, NUMBER + 100]])
def test_writing_outside_the_data_set_is_rejected(tmp_path, rows):
    writer = SaliencyWriter(tmp_path / 'maps', NUMBER, GRID, 'f')
    with pytest.raises(InputError, match='outside the 27 maps'):
        writer.write(torch.tensor(rows), torch.rand(len(rows), 35))


def test_full_disk_is_reported_in_one_line_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = write(tmp_path / 'maps', random_maps())
    before = path.read_bytes()

    def full(*args):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'posix_fallocate', full)
    with pytest.raises(InputError, match=rf'maps: no space for 27 maps; {len(before)} bytes'):
        SaliencyWriter(path, NUMBER, GRID, IDENTITY)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ['maps']


PARTS = {'every third': ALL[::3], 'a block': ALL[8:16], 'across blocks': ALL[5:20],
         'last': ALL[26:], 'none': ALL[:0], 'all': ALL}


@pytest.mark.parametrize('part', PARTS)
@pytest.mark.parametrize(('old_dtype', 'dtype'), [
    ('float16', 'float16'), ('uint8', 'uint8'), ('float16', 'uint8'), ('uint8', 'float16')])
def test_unwritten_rows_are_those_of_the_base(tmp_path, part, old_dtype, dtype):
    old, new, rows = random_maps(), random_maps(5), PARTS[part]
    base = SaliencyStore(write(tmp_path / 'old', old, old_dtype))
    path = write(tmp_path / 'new', new, dtype, 80, rows, base)
    store = SaliencyStore(path, IDENTITY)
    assert store.step == 80 and store.dtype == dtype
    found, kept = store.lookup(ALL), torch.ones(NUMBER, dtype=torch.bool)
    kept[rows] = False
    wanted = base.lookup(ALL)
    if old_dtype == dtype:  # bit for bit, however often they are copied
        assert torch.equal(found[kept], wanted[kept])
    step = STEP[dtype] + 1e-7
    torch.testing.assert_close(found[kept], wanted[kept], rtol=0, atol=step)
    torch.testing.assert_close(found[rows].flatten(1), new[rows], rtol=0, atol=step)


RENEWED = {'every third': range(1, NUMBER, 3), 'in two blocks': range(6, 11), 'first': range(1),
           'every tenth': range(6, NUMBER, 10), 'all': range(NUMBER)}


@pytest.mark.parametrize('renewed', RENEWED)
@pytest.mark.parametrize('dtype', ['float16', 'uint8'])
@pytest.mark.parametrize('order', ['in order', 'any', 'twice', 'with others'])
def test_a_part_makes_the_file_that_all_rows_make(tmp_path, renewed, dtype, order):
    old, new = random_maps(), random_maps(5)
    base = SaliencyStore(write(tmp_path / 'old', old, dtype))
    rows = torch.tensor(RENEWED[renewed])
    chance = torch.Generator().manual_seed(3)
    # Sample 0 is written after its block was finished, too.
    written = {'in order': rows, 'any': rows[torch.randperm(len(rows), generator=chance)],
               'twice': torch.cat([rows, rows]), 'with others': torch.cat([rows, ALL[:1]])}[order]
    with SaliencyWriter(tmp_path / 'new', NUMBER, GRID, IDENTITY, 80, dtype, base,
                        RENEWED[renewed]) as writer:
        for some in written.split(4):
            writer.write(some, new[some])
        found = writer.commit()
    merged = old.clone()
    merged[written] = new[written]
    wanted = write(tmp_path / 'wanted', merged, dtype, 80)
    assert found.read_bytes() == wanted.read_bytes()


@pytest.mark.parametrize('renewed', ['every third', 'all'])
def test_a_part_in_order_leaves_nothing_for_the_commit(tmp_path, monkeypatch, renewed):
    base = SaliencyStore(write(tmp_path / 'old', random_maps()))
    rows = torch.tensor(RENEWED[renewed])
    writer = SaliencyWriter(tmp_path / 'new', NUMBER, GRID, IDENTITY, base=base,
                            renewed=RENEWED[renewed])
    for some in rows.split(4):
        writer.write(some, random_maps(5)[some])
    monkeypatch.setattr(SaliencyWriter, '_finish', None)
    SaliencyStore(writer.commit())


def test_required_rows_must_be_written_with_a_base_too(tmp_path):
    base = SaliencyStore(write(tmp_path / 'old', random_maps()))
    required = range(1, NUMBER, 3)
    writer = SaliencyWriter(tmp_path / 'new', NUMBER, GRID, IDENTITY, base=base, renewed=required)
    rows = torch.tensor(required)
    writer.write(ALL[[2, 3]], torch.rand(2, GRID[0] * GRID[1]))  # they stand for no other
    writer.write(rows[2:], torch.rand(len(rows) - 2, GRID[0] * GRID[1]))
    with pytest.raises(RuntimeError, match=f'2 of {len(required)} samples have no map, the first '
                                           'is sample 1$'):
        writer.commit()
    writer.write(rows[:2], torch.rand(2, GRID[0] * GRID[1]))
    assert SaliencyStore(writer.commit()).num_samples == NUMBER


def test_base_may_have_the_same_path(tmp_path):
    path = write(tmp_path / 'maps', random_maps())
    base = SaliencyStore(path)
    wanted = base.lookup(ALL)
    write(path, random_maps(5), rows=ALL[:9], base=base)
    assert torch.equal(SaliencyStore(path).lookup(ALL)[9:], wanted[9:])


def test_damaged_block_of_the_base_is_not_copied(tmp_path):
    path = write(tmp_path / 'old', random_maps())
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1  # of sample 26
    path.write_bytes(raw)
    base = SaliencyStore(path, share=None)
    write(tmp_path / 'new', random_maps(5), rows=ALL[8:], base=base)
    for rows in (ALL[:24], ALL[:26]):
        with pytest.raises(InputError, match=r'old: the maps of samples 24 to 26 are damaged'):
            write(tmp_path / 'other', random_maps(5), rows=rows, base=base)
    assert not (tmp_path / 'other').exists()


def test_a_damaged_base_is_reported_by_the_commit(tmp_path):
    """One process writes; an error that it alone has there would leave the others waiting."""
    path = write(tmp_path / 'old', random_maps())
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1  # of sample 26
    path.write_bytes(raw)
    writer = SaliencyWriter(tmp_path / 'new', NUMBER, GRID, IDENTITY,
                            base=SaliencyStore(path, share=None), renewed=range(0, NUMBER, 2))
    writer.write(ALL[::2], random_maps(5)[::2])
    with pytest.raises(InputError, match=r'old: the maps of samples 24 to 26 are damaged'):
        writer.commit()


def test_base_of_another_data_set_or_grid_is_rejected(tmp_path):
    base = SaliencyStore(write(tmp_path / 'old', random_maps()))
    cases = [((NUMBER, GRID, 'x'), 'another data set'), ((26, GRID, IDENTITY), 'another data set'),
             ((NUMBER, (7, 5), IDENTITY), 'maps of 5x7 cells')]
    for (number, grid, identity), line in cases:
        with pytest.raises(InputError, match=f'old: .*{line}'):
            SaliencyWriter(tmp_path / 'new', number, grid, identity, base=base)
    assert os.listdir(tmp_path) == ['old']
