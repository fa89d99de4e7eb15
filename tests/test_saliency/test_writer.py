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
    """27 maps lie in blocks of 8, 8, 8 and 3."""
    monkeypatch.setattr(map_file, 'BLOCK_BYTES', 600)


def random_maps(seed=0):
    return torch.rand(NUMBER, 35, generator=torch.Generator().manual_seed(seed))


def write(path, maps, dtype='float16', step=40, rows=ALL, base=None, batch=4):
    writer = SaliencyWriter(path, NUMBER, GRID, IDENTITY, step, dtype, base)
    for some in rows.split(batch):
        writer.write(some, maps[some])
    return writer.commit()


def test_writing_a_row_twice_keeps_the_last(tmp_path):
    maps = random_maps()
    writer = SaliencyWriter(tmp_path / 'maps', NUMBER, GRID, 'f')
    writer.write(ALL, torch.zeros_like(maps))
    for some in ALL.flip(0).split(5):
        writer.write(some, maps[some])
    found = SaliencyStore(writer.commit()).lookup(ALL)
    torch.testing.assert_close(found.flatten(1), maps, rtol=0, atol=STEP['float16'])


def test_an_unwritten_row_is_an_error_that_names_it(tmp_path):
    maps = random_maps()
    path = write(tmp_path / 'maps', maps)
    before = path.read_bytes()
    writer = SaliencyWriter(path, NUMBER, GRID, IDENTITY)
    some = ALL[(ALL != 12) & (ALL != 25)]
    writer.write(some, maps[some])
    with pytest.raises(RuntimeError, match='2 of 27 .* sample 12'):
        writer.commit()
    assert path.read_bytes() == before


def test_an_abandoned_writer_leaves_the_old_file(tmp_path):
    path = write(tmp_path / 'maps', random_maps(), step=40)
    before = path.read_bytes()
    writer = SaliencyWriter(path, NUMBER, GRID, IDENTITY, step=80)
    writer.write(ALL, random_maps(5))
    del writer  # a crash before the commit
    assert path.read_bytes() == before
    assert SaliencyStore(path, IDENTITY).step == 40
    # What it left behind does not stop the next one, whose file may be smaller.
    short = SaliencyWriter(path, 2, GRID, 'f', step=120)
    short.write(torch.arange(2), random_maps(6)[:2])
    assert SaliencyStore(short.commit(), 'f').step == 120


def test_at_the_end_of_a_with_statement_what_was_not_committed_is_gone(tmp_path):
    with pytest.raises(KeyboardInterrupt), SaliencyWriter(tmp_path / 'maps', NUMBER, GRID, 'f'):
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []
    with SaliencyWriter(tmp_path / 'maps', NUMBER, GRID, 'f') as writer:
        writer.write(ALL, random_maps())
        writer.commit()
    assert os.listdir(tmp_path) == ['maps']


def test_unknown_dtype_is_refused(tmp_path):
    with pytest.raises(InputError, match="dtype='float8'"):
        SaliencyWriter(tmp_path / 'maps', NUMBER, GRID, 'f', dtype='float8')
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize('order', ['in order', 'backwards', 'any', 'odd rows first'])
@pytest.mark.parametrize('batch', [1, 5, 27])
def test_every_order_gives_the_same_file(tmp_path, order, batch):
    maps = random_maps()
    rows = {'in order': ALL, 'backwards': ALL.flip(0), 'odd rows first': ALL.roll(13) * 2 % 27,
            'any': torch.randperm(NUMBER, generator=torch.Generator().manual_seed(2))}[order]
    found = write(tmp_path / 'maps', maps, rows=rows, batch=batch)
    wanted = write(tmp_path / 'wanted', maps)
    assert found.read_bytes() == wanted.read_bytes()


def test_rows_in_order_are_summed_up_as_they_come(tmp_path, monkeypatch):
    """Not at the commit, when they may have left the memory."""
    writer = SaliencyWriter(tmp_path / 'maps', NUMBER, GRID, 'f')
    writer.write(ALL, random_maps())
    monkeypatch.setattr(SaliencyWriter, '_seal', None)
    writer.commit()
    SaliencyStore(tmp_path / 'maps')


def test_one_bit_a_sample_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(map_file, 'BLOCK_BYTES', 2**20)
    writer = SaliencyWriter(tmp_path / 'maps', 10**6, (2, 2), 'f', dtype='uint8')
    kept = sum(value.nbytes for value in vars(writer).values()
               if isinstance(value, np.ndarray) and not isinstance(value, np.memmap))
    assert kept < 10**6 / 8 + 1000


@pytest.mark.parametrize('rows', [[-1], [NUMBER], [0, 5, NUMBER + 100]])
def test_writing_outside_the_data_set_is_refused(tmp_path, rows):
    writer = SaliencyWriter(tmp_path / 'maps', NUMBER, GRID, 'f')
    with pytest.raises(InputError, match='outside the 27 maps'):
        writer.write(torch.tensor(rows), torch.rand(len(rows), 35))


def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path, monkeypatch):
    path = write(tmp_path / 'maps', random_maps())
    before = path.read_bytes()

    def full(*args):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(os, 'posix_fallocate', full)
    with pytest.raises(InputError, match=rf'maps: no space for 27 maps: {len(before)} bytes'):
        SaliencyWriter(path, NUMBER, GRID, IDENTITY)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ['maps']


PARTS = {'every third': ALL[::3], 'a block': ALL[8:16], 'across blocks': ALL[5:20],
         'last': ALL[26:], 'none': ALL[:0], 'all': ALL}


@pytest.mark.parametrize('part', PARTS)
@pytest.mark.parametrize(('old_dtype', 'dtype'), [
    ('float16', 'float16'), ('uint8', 'uint8'), ('float16', 'uint8'), ('uint8', 'float16')])
def test_rows_never_written_are_those_of_the_base(tmp_path, part, old_dtype, dtype):
    old, new, rows = random_maps(), random_maps(5), PARTS[part]
    base = SaliencyStore(write(tmp_path / 'old', old, old_dtype))
    path = write(tmp_path / 'new', new, dtype, 80, rows, base)
    store = SaliencyStore(path, IDENTITY)
    assert store.step == 80 and store.dtype == dtype
    found, kept = store.lookup(ALL), torch.ones(NUMBER, dtype=torch.bool)
    kept[rows] = False
    wanted = base.lookup(ALL)
    if old_dtype == dtype:  # to the bit, however often they are taken over
        assert torch.equal(found[kept], wanted[kept])
    step = STEP[dtype] + 1e-7
    torch.testing.assert_close(found[kept], wanted[kept], rtol=0, atol=step)
    torch.testing.assert_close(found[rows].flatten(1), new[rows], rtol=0, atol=step)


def test_rows_that_were_due_are_missed_with_a_base_too(tmp_path):
    base = SaliencyStore(write(tmp_path / 'old', random_maps()))
    due = range(1, NUMBER, 3)
    writer = SaliencyWriter(tmp_path / 'new', NUMBER, GRID, IDENTITY, base=base, renewed=due)
    rows = torch.tensor(due)
    writer.write(rows[2:], torch.rand(len(rows) - 2, GRID[0] * GRID[1]))
    with pytest.raises(RuntimeError, match=f'2 of {len(due)} samples got no map, the first is '
                                           'sample 1$'):
        writer.commit()
    writer.write(rows[:2], torch.rand(2, GRID[0] * GRID[1]))
    assert SaliencyStore(writer.commit()).num_samples == NUMBER


def test_a_base_of_the_same_name_is_read_until_it_is_replaced(tmp_path):
    path = write(tmp_path / 'maps', random_maps())
    base = SaliencyStore(path)
    wanted = base.lookup(ALL)
    write(path, random_maps(5), rows=ALL[:9], base=base)
    assert torch.equal(SaliencyStore(path).lookup(ALL)[9:], wanted[9:])


def test_damage_of_the_base_is_not_carried_on(tmp_path):
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


def test_another_base_is_refused(tmp_path):
    base = SaliencyStore(write(tmp_path / 'old', random_maps()))
    cases = [((NUMBER, GRID, 'x'), 'another data set'), ((26, GRID, IDENTITY), 'another data set'),
             ((NUMBER, (7, 5), IDENTITY), 'maps of 5x7 cells')]
    for (number, grid, identity), line in cases:
        with pytest.raises(InputError, match=f'old: .*{line}'):
            SaliencyWriter(tmp_path / 'new', number, grid, identity, base=base)
    assert os.listdir(tmp_path) == ['old']
