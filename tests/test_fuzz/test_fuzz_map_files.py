"""Map files: what is read is what was written, and of a damaged file nothing wrong is read."""

import itertools
import json
import zlib
from unittest.mock import patch

import numpy as np
import pytest
import torch
from counted_cases import fuzz
from hypothesis import strategies as st

from amt_mm.errors import InputError
from amt_mm.saliency import SaliencyStore, SaliencyWriter, map_file

HEADER = 4096
STEP = {'float16': 2**-11, 'uint8': .5 / 255}
DTYPES, SEEDS = st.sampled_from(list(STEP)), st.integers(0, 2**32 - 1)
SIDES = st.integers(1, 6)
# From 8 maps a block on.
BLOCK_BYTES = st.sampled_from([1, 300, 2**20])


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('maps')


def random_maps(number, grid, seed):
    """Some of zeros, some of ones, none alike else."""
    chance = np.random.default_rng(seed)
    maps = chance.random((number, grid[0] * grid[1]), np.float32)
    maps[chance.random(number) < .1] = chance.integers(2)
    return torch.from_numpy(maps)


def write(path, maps, grid, chosen=None, step=3, over=None, **kwargs):
    """All maps, or those chosen, in the order given; some ``over`` others."""
    writer = SaliencyWriter(path, len(maps), grid, f'{len(maps)}-name', step, **kwargs)
    chosen = torch.arange(len(maps)) if chosen is None else chosen
    if over is not None and len(over):
        writer.write(over, 1 - maps[over])
    for rows in chosen.split(7):
        writer.write(rows, maps[rows])
    return writer.commit()


def everything(store):
    return store.lookup(torch.arange(store.num_samples)).flatten(1)


@fuzz(300, number=st.integers(1, 60), grid=st.tuples(SIDES, SIDES), dtype=DTYPES, old_dtype=DTYPES,
      share=st.sampled_from([0, .3, .9, 1]), block_bytes=BLOCK_BYTES, parts=st.integers(1, 5),
      step=st.integers(0, 2**40), seed=SEEDS)
def test_what_is_written_is_read(folder, number, grid, dtype, old_dtype, share, block_bytes, parts,
                                 step, seed):
    """In any order, some rows twice, and the others from older maps of either type."""
    chance = np.random.default_rng(seed)
    old, new = random_maps(number, grid, seed), random_maps(number, grid, seed + 1)
    chosen = chance.permutation(number)[:round(share * number)]
    twice = chance.choice(chosen, min(len(chosen), 9)) if len(chosen) else chosen
    # Two processes share the disk of a machine: durability is not what is tested here.
    with patch.object(map_file, 'BLOCK_BYTES', block_bytes), patch('os.fsync'):
        base = SaliencyStore(write(folder / 'old', old, grid, dtype=old_dtype))
        rows = torch.from_numpy(np.concatenate([chosen, twice]))
        path = write(folder / 'new', new, grid, rows, step,
                     rows[:len(rows) * (seed % 3) // 2], dtype=dtype, base=base)
    stores = [SaliencyStore(path, f'{number}-name', (part, parts)) for part in range(parts)]
    assert len({store.crc32 for store in stores}) == 1
    store = stores[-1]
    assert (store.num_samples, store.grid, store.dtype, store.step) == (number, grid, dtype, step)
    found = everything(store)
    fresh = torch.zeros(number, dtype=torch.bool)
    fresh[chosen] = True
    torch.testing.assert_close(found[fresh], new[fresh], rtol=0, atol=STEP[dtype] + 1e-7)
    kept = everything(base)
    exactly = 0 if dtype == old_dtype else STEP[dtype] + 1e-7
    torch.testing.assert_close(found[~fresh], kept[~fresh], rtol=0, atol=exactly)
    some = torch.from_numpy(chance.integers(0, number, 5))
    assert torch.equal(store.lookup(some).flatten(1), found[some])


@pytest.fixture(scope='module')
def originals(folder):
    """Files of two data sets, grids, types and steps: their bytes and their maps."""
    made = []
    for dtype, grid, number in itertools.product(STEP, [(3, 5), (5, 3)], [19, 23]):
        for step, block_bytes in ((3, 1), (4, 1), (4, 2**20)):
            maps = random_maps(number, grid, len(made) + 10 * step)
            with patch.object(map_file, 'BLOCK_BYTES', block_bytes):
                path = write(folder / 'original', maps, grid, step=step, dtype=dtype)
            made.append((path.read_bytes(), everything(SaliencyStore(path))))
    return made


def opened(folder, raw, share=(0, 1)):
    """The maps of these bytes, or None where they are refused in one line."""
    path = folder / 'damaged'
    path.write_bytes(raw)
    try:
        store = SaliencyStore(path, share=share)
        if share is None:
            return store.read_verified(slice(0, store.num_samples))
        return everything(store)
    except InputError as error:
        assert str(path) in str(error)
        assert '\n' not in str(error)
        return None


def flip_bits(raw, other, chance):
    places = chance.integers(0, len(raw), chance.choice([1, 1, 2, 3, 8, 50]))
    for place in places:
        raw[place] ^= 1 << chance.integers(8)


def flip_bits_before_the_maps(raw, other, chance):
    front = memoryview(raw)[:chance.choice([16, 200, 2 * HEADER])]
    flip_bits(front, other, chance)


def cut(raw, other, chance):
    del raw[chance.integers(len(raw)):]


def grow(raw, other, chance):
    raw += chance.bytes(chance.choice([1, 15, 30, HEADER]))


def cut_out(raw, other, chance):
    start = chance.integers(len(raw))
    del raw[start:start + chance.integers(1, 200)]


def swap(raw, other, chance):
    """Two stretches of one length: of blocks, of maps, of anything."""
    length = int(chance.choice([1, 15, 30, 8 * 15, 8 * 30, HEADER]))
    one, two = (int(place) for place in chance.integers(0, len(raw) - length, 2))
    raw[one:one + length], raw[two:two + length] = (
        raw[two:two + length], raw[one:one + length])


def zero(raw, other, chance):
    """As a page that never reached the disk."""
    start = chance.integers(len(raw)) // 512 * 512
    raw[start:start + 512] = bytes(len(raw[start:start + 512]))


def take_of_another(raw, other, chance):
    """Magic, header, header and table, or all but those, of another file."""
    place = chance.choice([8, 16, HEADER, 2 * HEADER])
    if chance.random() < .7:
        raw[:place] = other[:place]
    else:
        raw[place:] = other[place:]


def another_magic(raw, other, chance):
    raw[:8] = [b'AMTMAP01', b'AMTMAP03', b'AMTPACK1', chance.bytes(8)][chance.integers(4)]


def noise(raw, other, chance):
    raw[:] = raw[:chance.choice([0, 8])] + chance.bytes(chance.integers(3 * HEADER))


DAMAGES = [flip_bits, flip_bits_before_the_maps, cut, grow, cut_out, swap, zero, take_of_another,
           another_magic, noise]


@fuzz(2000, which=st.integers(0, 23), another=st.integers(0, 23),
      damages=st.lists(st.sampled_from(DAMAGES), min_size=1, max_size=2),
      whole=st.booleans(), seed=SEEDS)
def test_a_damaged_file_is_refused_or_the_same(folder, originals, which, another, damages, whole,
                                               seed):
    """Or, where parts of another file make that file whole again, the other."""
    (before, maps), (other, others) = originals[which], originals[another]
    raw, chance = bytearray(before), np.random.default_rng(seed)
    for damage in damages:
        if len(raw) > 3 * HEADER // 2:
            damage(raw, other, chance)
    # Maps that are opened unverified are verified as they are taken over.
    found = opened(folder, raw, (0, 1) if whole else None)
    if bytes(raw) in (before, other):
        assert found is not None
        if whole:
            assert torch.equal(found, maps if bytes(raw) == before else others)
    else:
        assert found is None


VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(1, 30), st.floats(), st.text(max_size=5),
    st.sampled_from(['float16', 'uint8', 2**31, 2**62, 2**63, 10**400, -1, 'object', '<f8']),
    st.lists(st.integers(-1, 30), max_size=3), st.dictionaries(st.text(max_size=3), st.none()))
NAMES = ['num_samples', 'grid', 'dtype', 'fingerprint', 'step', 'block_rows']


@fuzz(1000, which=st.integers(0, 23), sealed=st.booleans(), changes=st.dictionaries(
    st.sampled_from(NAMES), VALUES, min_size=1, max_size=3), lacking=st.sampled_from(
        [None] * 6 + NAMES), more=st.dictionaries(st.text(max_size=3), VALUES, max_size=1))
def test_a_header_of_any_values(folder, originals, which, sealed, changes, lacking, more):
    """Refused, or what it says is true of the file; its checksum may have been made to fit."""
    raw = originals[which][0]
    said = {**json.loads(raw[16:HEADER]), **changes, **more}
    said.pop(lacking, None)
    text = json.dumps(said).encode().ljust(HEADER - 16)[:HEADER - 16]
    front = text + raw[HEADER:2 * HEADER]
    crc = b'%08x' % zlib.crc32(front) if sealed else raw[8:16]
    found = opened(folder, raw[:8] + crc + front + raw[2 * HEADER:])
    if found is not None and not sealed:
        assert said == json.loads(raw[16:HEADER])
    if found is not None:
        assert said.keys() == set(NAMES)
        assert found.shape == (said['num_samples'], said['grid'][0] * said['grid'][1])
        assert found.numel() * (2 if said['dtype'] == 'float16' else 1) == len(raw) - 2 * HEADER


@fuzz(600, text=st.one_of(st.binary(max_size=300), st.recursive(
    VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(NAMES), inner, max_size=6), max_leaves=8).map(
            lambda value: json.dumps(value).encode()[:HEADER - 16])))
def test_a_header_of_any_text(folder, originals, text):
    raw = originals[0][0]
    front = text.ljust(HEADER - 16) + raw[HEADER:2 * HEADER]
    assert opened(folder, raw[:8] + b'%08x' % zlib.crc32(front) + front + raw[2 * HEADER:]) is None
