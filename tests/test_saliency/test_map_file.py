"""The format, byte by byte, read here according to its description only."""

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


def test_layout(path, maps, dtype):
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
    assert [file.name for file in path.parent.iterdir()] == ['maps'], 'a temporary file is left'


def test_flipped_bit_in_any_byte_is_detected(path):
    """In header, table, padding and maps."""
    raw = path.read_bytes()
    accepted = []
    with open(path, 'r+b', buffering=0) as file:
        for place, byte in enumerate(raw):
            file.seek(place)
            file.write(bytes([byte ^ 1 << place % 8]))
            try:
                SaliencyStore(path)
            except InputError as error:
                assert str(path) in str(error) and '\n' not in str(error)
            else:
                accepted.append(place)
            file.seek(place)
            file.write(bytes([byte]))
    assert not accepted
    SaliencyStore(path)


def rejected(path, raw):
    path.write_bytes(raw)
    with pytest.raises(InputError) as caught:
        SaliencyStore(path)
    message = str(caught.value)
    assert str(path) in message
    assert '\n' not in message
    return message


def test_wrong_length_is_rejected(path):
    raw = path.read_bytes()
    for kept in (0, 3, 8, 12, 100, HEADER - 1, HEADER, HEADER + 1, 2 * HEADER - 1, 2 * HEADER,
                 2 * HEADER + 1, len(raw) - 1):
        rejected(path.with_name('cut'), raw[:kept])
    for more in (b'\0', b'\0' * HEADER):
        assert 'too long' in rejected(path.with_name('long'), raw + more)


@pytest.mark.parametrize('raw', [
    b'\x89PNG\r\n', b'\x80\x04K\x01.', b'AMTMAP02', b'AMTMAP02' + b' ' * HEADER,
    b'AMTMAP02' + b'\xff' * HEADER, b'AMTMAP0200000000' + b'[]'.ljust(HEADER - 16),
    b'AMTMAP0200000000' + b'{}'.ljust(HEADER - 16),
    b'AMTMAP0200000000' + b'null'.ljust(HEADER - 16),
    b'AMTMAP0200000000' + b'[' * (HEADER - 16)])
def test_other_kinds_of_files_are_rejected(tmp_path, raw):
    rejected(tmp_path / 'file', raw)


def test_other_version_is_named(path):
    raw = path.read_bytes()
    message = rejected(path, b'AMTMAP01' + raw[8:])
    assert 'AMTMAP01, not AMTMAP02' in message


@pytest.mark.parametrize('change', [
    dict(num_samples=0), dict(num_samples=-1), dict(num_samples=True), dict(num_samples=2**62),
    dict(block_rows=0), dict(block_rows=2**60), dict(grid=[5]), dict(grid=[5, 0]),
    dict(grid=[5., 7]), dict(dtype='O'),
    dict(dtype=['float16']), dict(step='40'), dict(more=1), dict(fingerprint=None)])
def test_invalid_header_with_a_valid_checksum_is_rejected(path, change):
    raw = path.read_bytes()
    header = {**json.loads(raw[16:HEADER]), **change}
    front = json.dumps(header).encode().ljust(HEADER - 16) + raw[HEADER:2 * HEADER]
    rejected(path, b'AMTMAP02' + b'%08x' % zlib.crc32(front) + front + raw[2 * HEADER:])


def test_forged_block_size_takes_no_memory(path):
    raw = path.read_bytes()
    header = {**json.loads(raw[16:HEADER]), 'block_rows': 2**62}
    front = json.dumps(header).encode().ljust(HEADER - 16) + struct.pack(
        '<I', zlib.crc32(raw[2 * HEADER:])).ljust(HEADER, b'\0')
    path.write_bytes(b'AMTMAP02' + b'%08x' % zlib.crc32(front) + front + raw[2 * HEADER:])
    assert SaliencyStore(path).num_samples == NUMBER
    rejected(path, path.read_bytes()[:-1] + b'\x55')


def test_blocks_of_common_grids_are_about_a_mebibyte():
    for grid, kind in (((14, 14), 'float16'), ((14, 14), 'uint8'), ((24, 24), 'float16')):
        header = map_file.MapHeader.new(10**9, grid, kind, 'f', 0)
        assert .98 * 2**20 < header.block_rows * header.row_bytes <= 2**20
        assert header.block_rows % 8 == 0
        # The preamble is a few millionths of the file.
        assert header.maps_start < 5e-6 * header.file_bytes
