import pytest
import torch

from amt_mm.errors import InputError
from amt_mm.saliency import SaliencyStore, SaliencyWriter, fingerprint, map_file

GRID, NUMBER = (5, 7), 11
NAMES = [f'class/{index}.jpg' for index in range(NUMBER)]
STEP = {'float16': 2**-11, 'uint8': .5 / 255}


@pytest.fixture
def small_blocks(monkeypatch):
    """Store 11 maps in blocks of 8 and 3."""
    monkeypatch.setattr(map_file, 'BLOCK_BYTES', 600)


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


def test_looked_up_maps_are_copies(tmp_path):
    store = SaliencyStore(write(tmp_path / 'maps', random_maps()))
    first = store.lookup(torch.tensor([2]))
    wanted = first.clone()
    first.zero_()
    assert torch.equal(store.lookup(torch.tensor([2])), wanted)


@pytest.mark.parametrize('rows', [[-1], [NUMBER], [0, 5, NUMBER + 100], [3, -NUMBER]])
def test_index_out_of_range_is_rejected(tmp_path, rows):
    store = SaliencyStore(write(tmp_path / 'maps', random_maps()))
    with pytest.raises(InputError, match=f'{NUMBER} maps'):
        store.lookup(torch.tensor(rows))


def test_maps_of_another_data_set_are_rejected(tmp_path):
    path = write(tmp_path / 'maps', random_maps())
    with pytest.raises(InputError, match='another data set') as caught:
        SaliencyStore(path, fingerprint(reversed(NAMES)))
    assert str(path) in str(caught.value)
    assert '\n' not in str(caught.value)
    SaliencyStore(path)


def test_fingerprint_depends_on_count_names_and_order():
    name_lists = [NAMES, NAMES[::-1], NAMES[:-1], [*NAMES, NAMES[-1]], [*NAMES[:-1], 'class/x.jpg'],
                [''.join(NAMES)], [NAMES[0] + NAMES[1], '', *NAMES[2:]], []]
    assert len({fingerprint(names) for names in name_lists}) == len(name_lists)
    assert fingerprint(iter(NAMES)) == fingerprint(list(NAMES))
    assert fingerprint(NAMES).startswith(f'{NUMBER}-')
    # File names may be invalid UTF-8.
    assert fingerprint(['\udcff.jpg']) != fingerprint(['\udcfe.jpg'])


def test_open_store_keeps_its_maps_when_new_ones_are_published(tmp_path):
    old, new = random_maps(), random_maps(5)
    path = write(tmp_path / 'maps', old, step=40)
    reader, rows = SaliencyStore(path), torch.arange(NUMBER)
    write(path, new, step=80)
    torch.testing.assert_close(reader.lookup(rows).flatten(1), old, rtol=0, atol=STEP['float16'])
    fresh = SaliencyStore(path)
    assert fresh.step == 80
    torch.testing.assert_close(fresh.lookup(rows).flatten(1), new, rtol=0, atol=STEP['float16'])


def flip(path, place, bit=0):
    with open(path, 'r+b') as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1 << bit]))


@pytest.mark.parametrize(('dtype', 'row'), [('float16', 70), ('uint8', 35)])
def test_damaged_block_is_reported_by_its_samples(tmp_path, monkeypatch, dtype, row):
    monkeypatch.setattr(map_file, 'BLOCK_BYTES', 8 * row)
    path = write(tmp_path / 'maps', random_maps(), dtype)
    start = path.stat().st_size - NUMBER * row
    for byte in range(0, NUMBER * row, 13):
        flip(path, start + byte, byte % 8)
        samples = '0 to 7' if byte < 8 * row else '8 to 10'
        with pytest.raises(InputError, match=f'maps: the maps of samples {samples} are damaged'):
            SaliencyStore(path)
        flip(path, start + byte, byte % 8)
    SaliencyStore(path)


@pytest.mark.parametrize('parts', [1, 2, 3, 5])
def test_shares_verify_each_block_exactly_once(tmp_path, monkeypatch, parts):
    monkeypatch.setattr(map_file, 'BLOCK_BYTES', 1)  # 8 maps a block
    path = write(tmp_path / 'maps', random_maps().repeat(3, 1))  # 33 maps, 5 blocks
    for block in range(5):
        place = path.stat().st_size - 33 * 70 + block * 8 * 70 + 5
        flip(path, place)
        failed = 0
        for part in range(parts):
            try:
                SaliencyStore(path, share=(part, parts))
            except InputError as error:
                failed += 1
                assert f'samples {8 * block} to {min(8 * block + 7, 32)}' in str(error)
        assert failed == 1
        flip(path, place)


def test_opening_without_a_share_does_not_verify_maps(tmp_path, small_blocks):
    path = write(tmp_path / 'maps', random_maps())
    flip(path, path.stat().st_size - 1)
    store = SaliencyStore(path, share=None)
    assert store.num_samples == NUMBER
    store.read_verified(slice(0, 8))
    for rows in (slice(8, 11), slice(7, 9), slice(10, 11)):
        with pytest.raises(InputError, match='samples 8 to 10'):
            store.read_verified(rows)


def test_verified_rows_equal_those_looked_up(tmp_path, small_blocks):
    store = SaliencyStore(write(tmp_path / 'maps', random_maps()))
    for rows in (slice(0, 11), slice(0, 3), slice(6, 9), slice(10, 11)):
        found = store.read_verified(rows)
        assert found.dtype == 'float16'
        wanted = store.lookup(torch.arange(NUMBER)[rows])
        assert torch.equal(torch.from_numpy(found.astype('float32')), wanted)


def test_file_truncated_while_being_read_is_reported(tmp_path, monkeypatch):
    path = write(tmp_path / 'maps', random_maps())
    read_preamble = map_file.read_preamble

    def cut(file, name):
        found = read_preamble(file, name)
        with open(path, 'r+b') as other:
            other.truncate(path.stat().st_size - 1)
        return found

    monkeypatch.setattr('amt_mm.saliency.store.read_preamble', cut)
    with pytest.raises(InputError, match='samples 0 to 10 disappeared'):
        SaliencyStore(path)


def test_crc32_identifies_a_file(tmp_path, small_blocks):
    maps, files = random_maps(), []
    other = maps.clone()
    other[10, 34] = 1 - other[10, 34]
    for index, (rows, step) in enumerate([(maps, 40), (maps, 40), (other, 40), (maps, 41)]):
        files.append(SaliencyStore(write(tmp_path / str(index), rows, step=step), share=None))
    numbers = [store.crc32 for store in files]
    assert numbers[0] == numbers[1]
    assert len(set(numbers)) == 3


def test_missing_file_is_reported_in_one_line(tmp_path):
    for path in (tmp_path / 'none', tmp_path):
        with pytest.raises(InputError, match='no such saliency map'):
            SaliencyStore(path)
