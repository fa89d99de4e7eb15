import json
import os

import numpy as np
import pytest
import torch

from amt_mm.errors import InputError
from amt_mm.saliency import SaliencyStore, SaliencyWriter, fingerprint

GRID, NUMBER, HEADER = (5, 7), 11, 4096
NAMES = [f'class/{index}.jpg' for index in range(NUMBER)]
STEP = {'float16': 2**-11, 'uint8': .5 / 255}


def random_maps(seed=0):
    return torch.rand(NUMBER, 35, generator=torch.Generator().manual_seed(seed))


def write(path, maps, dtype='float16', step=40, names=NAMES):
    writer = SaliencyWriter(path, len(maps), GRID, fingerprint(names), step, dtype)
    order = torch.randperm(len(maps), generator=torch.Generator().manual_seed(1))
    for some in order.split(4):  # a last partial batch
        writer.write(some, maps[some])
    return writer.commit()


@pytest.mark.parametrize('dtype', ['float16', 'uint8'])
def test_round_trip(tmp_path, dtype):
    maps = random_maps()
    maps[0, 0], maps[0, 1], maps[3] = 0, 1, 0
    path = write(tmp_path / 'new' / 'maps', maps, dtype)
    store = SaliencyStore(path, fingerprint(NAMES))
    assert (store.num_samples, store.grid, store.step) == (NUMBER, GRID, 40)
    assert store.fingerprint == fingerprint(NAMES)
    rows = torch.tensor([3, 0, 10, 0, 7])  # unordered, one twice
    found = store.lookup(rows)
    assert found.shape == (5, *GRID)
    assert found.dtype == torch.float32
    # Rows in C order: token k of a map is cell (k // 7, k % 7).
    torch.testing.assert_close(found.flatten(1), maps[rows], rtol=0, atol=STEP[dtype] + 1e-7)
    assert found[1, 0, 0] == 0
    assert found[1, 0, 1] == 1
    assert found[0].abs().max() == 0
    assert store.lookup(torch.tensor([], dtype=torch.int64)).shape == (0, *GRID)


@pytest.mark.parametrize(('dtype', 'item'), [('float16', 2), ('uint8', 1)])
def test_the_file_is_a_plain_array_behind_its_header(tmp_path, dtype, item):
    maps = random_maps()
    raw = write(tmp_path / 'maps', maps, dtype).read_bytes()
    assert len(raw) == HEADER + NUMBER * 35 * item
    array = np.frombuffer(raw[HEADER:], dtype).reshape(NUMBER, 35).astype(np.float32)
    array = array / 255 if dtype == 'uint8' else array
    np.testing.assert_allclose(array, maps.numpy(), atol=STEP[dtype] + 1e-7)
    assert json.loads(raw[8:HEADER])['grid'] == list(GRID)
    assert os.listdir(tmp_path) == ['maps'], 'no temporary file is left'


def test_writing_a_row_twice_keeps_the_last(tmp_path):
    maps = random_maps()
    writer = SaliencyWriter(tmp_path / 'maps', NUMBER, GRID, 'f')
    writer.write(torch.arange(NUMBER), torch.zeros_like(maps))
    writer.write(torch.arange(NUMBER), maps)
    found = SaliencyStore(writer.commit()).lookup(torch.arange(NUMBER))
    torch.testing.assert_close(found.flatten(1), maps, rtol=0, atol=STEP['float16'])


def test_looked_up_maps_are_copies(tmp_path):
    store = SaliencyStore(write(tmp_path / 'maps', random_maps()))
    first = store.lookup(torch.tensor([2]))
    wanted = first.clone()
    first.zero_()
    assert torch.equal(store.lookup(torch.tensor([2])), wanted)


@pytest.mark.parametrize('rows', [[-1], [NUMBER], [0, 5, NUMBER + 100], [3, -NUMBER]])
def test_an_index_out_of_range_is_refused(tmp_path, rows):
    store = SaliencyStore(write(tmp_path / 'maps', random_maps()))
    with pytest.raises(InputError, match=f'{NUMBER} maps'):
        store.lookup(torch.tensor(rows))


def test_maps_of_another_data_set_are_refused(tmp_path):
    path = write(tmp_path / 'maps', random_maps())
    with pytest.raises(InputError, match='another data set') as caught:
        SaliencyStore(path, fingerprint(reversed(NAMES)))
    assert str(path) in str(caught.value)
    assert '\n' not in str(caught.value)
    SaliencyStore(path)


def test_fingerprint_sees_count_names_and_order():
    variants = [NAMES, NAMES[::-1], NAMES[:-1], [*NAMES, NAMES[-1]], [*NAMES[:-1], 'class/x.jpg'],
                [''.join(NAMES)], [NAMES[0] + NAMES[1], '', *NAMES[2:]], []]
    assert len({fingerprint(names) for names in variants}) == len(variants)
    assert fingerprint(iter(NAMES)) == fingerprint(list(NAMES))
    assert fingerprint(NAMES).startswith(f'{NUMBER}-')
    # A name that is no valid UTF-8, as a file system may hold, is a name too.
    assert fingerprint(['\udcff.jpg']) != fingerprint(['\udcfe.jpg'])


def test_an_unwritten_row_is_an_error_that_names_it(tmp_path):
    maps = random_maps()
    path = write(tmp_path / 'maps', maps)
    before = path.read_bytes()
    writer = SaliencyWriter(path, NUMBER, GRID, fingerprint(NAMES))
    some = torch.tensor([0, 1, 2, 3, 5, 6, 7, 8, 10])
    writer.write(some, maps[some])
    with pytest.raises(RuntimeError, match='2 of 11 .* sample 4'):
        writer.commit()
    assert path.read_bytes() == before


def test_an_abandoned_writer_leaves_the_old_file(tmp_path):
    path = write(tmp_path / 'maps', random_maps(), step=40)
    before = path.read_bytes()
    writer = SaliencyWriter(path, NUMBER, GRID, fingerprint(NAMES), step=80)
    writer.write(torch.arange(NUMBER), random_maps(5))
    del writer  # a crash before the commit
    assert path.read_bytes() == before
    assert SaliencyStore(path, fingerprint(NAMES)).step == 40
    # What it left behind does not stop the next one, whose file may be smaller.
    short = SaliencyWriter(path, 2, GRID, 'f', step=120)
    short.write(torch.arange(2), random_maps(6)[:2])
    assert SaliencyStore(short.commit(), 'f').step == 120


def test_a_reader_keeps_its_maps_when_new_ones_are_published(tmp_path):
    old, new = random_maps(), random_maps(5)
    path = write(tmp_path / 'maps', old, step=40)
    reader, rows = SaliencyStore(path), torch.arange(NUMBER)
    write(path, new, step=80)
    torch.testing.assert_close(reader.lookup(rows).flatten(1), old, rtol=0, atol=STEP['float16'])
    fresh = SaliencyStore(path)
    assert fresh.step == 80
    torch.testing.assert_close(fresh.lookup(rows).flatten(1), new, rtol=0, atol=STEP['float16'])


def test_unknown_dtype_is_refused(tmp_path):
    with pytest.raises(InputError, match="dtype='float8'"):
        SaliencyWriter(tmp_path / 'maps', NUMBER, GRID, 'f', dtype='float8')
    assert os.listdir(tmp_path) == []


def refused(path, raw):
    path.write_bytes(raw)
    with pytest.raises(InputError) as caught:
        SaliencyStore(path)
    message = str(caught.value)
    assert str(path) in message
    assert '\n' not in message
    return message


@pytest.mark.parametrize('dtype', ['float16', 'uint8'])
def test_a_file_of_another_length_is_refused(tmp_path, dtype):
    raw = write(tmp_path / 'maps', random_maps(), dtype).read_bytes()
    for kept in (0, 3, 8, 100, HEADER - 1, HEADER, HEADER + 1, len(raw) - 1):
        refused(tmp_path / 'cut', raw[:kept])
    refused(tmp_path / 'long', raw + b'\0')


@pytest.mark.parametrize('raw', [
    b'\x89PNG\r\n', b'AMTMAP02' + b' ' * HEADER, b'\x80\x04K\x01.', b'AMTMAP01' + b'\xff' * HEADER,
    b'AMTMAP01' + b'[]'.ljust(HEADER - 8), b'AMTMAP01' + b'{}'.ljust(HEADER - 8),
    b'AMTMAP01' + b'null'.ljust(HEADER - 8)])
def test_another_kind_of_file_is_refused(tmp_path, raw):
    refused(tmp_path / 'file', raw)


def test_a_missing_file_is_one_line(tmp_path):
    for path in (tmp_path / 'none', tmp_path):
        with pytest.raises(InputError, match='no such saliency map'):
            SaliencyStore(path)


def test_a_flipped_bit_in_the_data_is_noticed(tmp_path):
    raw = write(tmp_path / 'maps', random_maps()).read_bytes()
    for place in range(HEADER, len(raw), 37):
        spoilt = bytearray(raw)
        spoilt[place] ^= 1 << place % 8
        assert 'damaged' in refused(tmp_path / 'spoilt', bytes(spoilt))


def test_a_flipped_bit_in_the_header_is_noticed(tmp_path):
    # In any byte of what it says: a wrong step would be believed on resume.
    raw = write(tmp_path / 'maps', random_maps()).read_bytes()
    said = len(raw[:HEADER].rstrip())
    believed = bytearray()
    for place in [*range(said + 4), HEADER - 1]:
        spoilt = bytearray(raw)
        spoilt[place] ^= 1
        (tmp_path / 'spoilt').write_bytes(bytes(spoilt))
        try:
            SaliencyStore(tmp_path / 'spoilt')
        except InputError:
            continue
        believed.append(raw[place])
    assert not believed, f'{len(believed)} of {said} bytes may be wrong: {believed.decode()}'
