"""The format, byte by byte, read here by its description alone."""

import json
import struct
import zlib

import numpy as np
import pytest
import torch

from amt_mm.errors import InputError
from amt_mm.saliency import SaliencyStore, SaliencyWriter, map_file

GRID, NUMBER, HEADER = (5, 7), 11, 4096
ITEM = {'float16': 2, 'uint8': 1}


@pytest.fixture(params=['float16', 'uint8'])
def dtype(request):
    return request.param


@pytest.fixture
def maps():
    return torch.rand(NUMBER, 35, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def path(tmp_path, monkeypatch, maps, dtype):
    """11 maps in blocks of 8 and 3."""
    monkeypatch.setattr(map_file, 'BLOCK_BYTES', 8 * 35 * ITEM[dtype])
    writer = SaliencyWriter(tmp_path / 'maps', NUMBER, GRID, '11-a', 40, dtype)
    writer.write(torch.arange(NUMBER), maps)
    return writer.commit()


def test_the_layout(path, maps, dtype):
    raw, row = path.read_bytes(), 35 * ITEM[dtype]
    assert raw[:8] == b'AMTMAP02'
    assert json.loads(raw[16:HEADER]) == dict(
        num_samples=NUMBER, grid=list(GRID), dtype=dtype, fingerprint='11-a', step=40,
        block_rows=8)
    stored = raw[2 * HEADER:]
    assert len(stored) == NUMBER * row
    assert struct.unpack('<II', raw[HEADER:HEADER + 8]) == (
        zlib.crc32(stored[:8 * row]), zlib.crc32(stored[8 * row:]))
    assert not any(raw[HEADER + 8:2 * HEADER])
    assert int(raw[8:16], 16) == zlib.crc32(raw[16:2 * HEADER]) == SaliencyStore(path).crc32
    array = np.frombuffer(stored, dtype).reshape(NUMBER, 35).astype(np.float32)
    array = array / 255 if dtype == 'uint8' else array
    np.testing.assert_allclose(array, maps.numpy(), atol=.5 / 255 if dtype == 'uint8' else 2**-11)
    assert [file.name for file in path.parent.iterdir()] == ['maps'], 'no temporary file is left'


def test_a_flipped_bit_anywhere_is_noticed(path):
    """In any byte of header, table, filling and maps, without exception."""
    raw = path.read_bytes()
    believed = []
    with open(path, 'r+b', buffering=0) as file:
        for place, byte in enumerate(raw):
            file.seek(place)
            file.write(bytes([byte ^ 1 << place % 8]))
            try:
                SaliencyStore(path)
            except InputError as error:
                assert str(path) in str(error) and '\n' not in str(error)
            else:
                believed.append(place)
            file.seek(place)
            file.write(bytes([byte]))
    assert not believed
    SaliencyStore(path)


def refused(path, raw):
    path.write_bytes(raw)
    with pytest.raises(InputError) as caught:
        SaliencyStore(path)
    message = str(caught.value)
    assert str(path) in message
    assert '\n' not in message
    return message


def test_a_file_of_another_length_is_refused(path):
    raw = path.read_bytes()
    for kept in (0, 3, 8, 12, 100, HEADER - 1, HEADER, HEADER + 1, 2 * HEADER - 1, 2 * HEADER,
                 2 * HEADER + 1, len(raw) - 1):
        refused(path.with_name('cut'), raw[:kept])
    for more in (b'\0', b'\0' * HEADER):
        assert 'too long' in refused(path.with_name('long'), raw + more)


@pytest.mark.parametrize('raw', [
    b'\x89PNG\r\n', b'\x80\x04K\x01.', b'AMTMAP02', b'AMTMAP02' + b' ' * HEADER,
    b'AMTMAP02' + b'\xff' * HEADER, b'AMTMAP0200000000' + b'[]'.ljust(HEADER - 16),
    b'AMTMAP0200000000' + b'{}'.ljust(HEADER - 16),
    b'AMTMAP0200000000' + b'null'.ljust(HEADER - 16),
    b'AMTMAP0200000000' + b'[' * (HEADER - 16)])
def test_another_kind_of_file_is_refused(tmp_path, raw):
    refused(tmp_path / 'file', raw)


def test_another_version_is_named(path):
    raw = path.read_bytes()
    message = refused(path, b'AMTMAP01' + raw[8:])
    assert 'AMTMAP01, this is AMTMAP02' in message


@pytest.mark.parametrize('change', [
    dict(num_samples=0), dict(num_samples=-1), dict(num_samples=True), dict(num_samples=2**62),
    dict(block_rows=0), dict(block_rows=2**60), dict(grid=[5]), dict(grid=[5, 0]),
    dict(grid=[5., 7]), dict(dtype='O'),
    dict(dtype=['float16']), dict(step='40'), dict(more=1), dict(fingerprint=None)])
def test_a_header_that_makes_no_sense_is_refused_although_its_checksum_fits(path, change):
    raw = path.read_bytes()
    said = {**json.loads(raw[16:HEADER]), **change}
    front = json.dumps(said).encode().ljust(HEADER - 16) + raw[HEADER:2 * HEADER]
    refused(path, b'AMTMAP02' + b'%08x' % zlib.crc32(front) + front + raw[2 * HEADER:])


def test_a_forged_size_of_blocks_takes_no_memory(path):
    raw = path.read_bytes()
    said = {**json.loads(raw[16:HEADER]), 'block_rows': 2**62}
    front = json.dumps(said).encode().ljust(HEADER - 16) + struct.pack(
        '<I', zlib.crc32(raw[2 * HEADER:])).ljust(HEADER, b'\0')
    path.write_bytes(b'AMTMAP02' + b'%08x' % zlib.crc32(front) + front + raw[2 * HEADER:])
    assert SaliencyStore(path).num_samples == NUMBER
    refused(path, path.read_bytes()[:-1] + b'\x55')


def test_blocks_of_common_grids_are_about_a_mebibyte():
    for grid, kind in (((14, 14), 'float16'), ((14, 14), 'uint8'), ((24, 24), 'float16')):
        header = map_file.MapHeader.new(10**9, grid, kind, 'f', 0)
        assert .98 * 2**20 < header.block_rows * header.row_bytes <= 2**20
        assert header.block_rows % 8 == 0
        # A table of some millionths of the file.
        assert header.maps_start < 5e-6 * header.file_bytes
