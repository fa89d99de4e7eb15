"""PNG files of few bytes, whose texts unpack to gigabytes, take no time."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from deep_images import deep_png
from PIL import Image

from amt_mm.datasets import LoadImage, LoadPixels
from amt_mm.datasets.frames import read_frame
from amt_mm.datasets.load_mask import read_mask
from amt_mm.datasets.png_texts import without_texts
from amt_mm.errors import InputError
from amt_mm.guidance.given_maps import GivenMaps

# What libpng unpacks at most, and Pillow.
LARGE, SMALL = zlib.compress(bytes(7_000_000)), zlib.compress(bytes(1_000_000))
# Pillow does not count the memory of those without a name, or not of UTF-8.
TEXTS = {'zTXt': b'\0\0' + SMALL, 'iTXt': b'k\0\1\0\0\0' + zlib.compress(bytes(999_999) + b'\xff'),
         'iCCP': b'k\0\0' + SMALL}


def with_chunks(path, name, data, count, first=True):
    """Put chunks behind the header of a PNG, or before its end."""
    content, name = path.read_bytes(), name.encode()
    place = 33 if first else len(content) - 12
    chunk = struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
    path.write_bytes(content[:place] + count * chunk + content[place:])
    return str(path)


def image(path, mode='RGB', seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 7, len(mode)), np.uint8)
    Image.fromarray(pixels.squeeze()).save(path)
    return path


@pytest.fixture
def decoded(monkeypatch):
    """What OpenCV is given."""
    seen, decode = [], cv2.imdecode
    monkeypatch.setattr(cv2, 'imdecode', lambda content, flags: (
        seen.append(content.tobytes()), decode(content, flags))[1])
    return seen


@pytest.mark.parametrize('first', [True, False])
@pytest.mark.parametrize('name', ['zTXt', 'iTXt'])
def test_opencv_sees_no_texts(tmp_path, decoded, name, first):
    data = b'k\0\0' + LARGE if name == 'zTXt' else b'k\0\1\0\0\0' + LARGE
    plain = LoadImage()({'img_path': str(image(tmp_path / 'a.png'))})['img']
    path = with_chunks(tmp_path / 'a.png', name, data, 900, first)
    np.testing.assert_array_equal(LoadImage()({'img_path': path})['img'], plain)

    (tmp_path / 'deep.png').write_bytes(deep_png(np.arange(12).reshape(3, 4, 1) * 5000, 0))
    path = with_chunks(tmp_path / 'deep.png', name, TEXTS[name], 20, first)
    assert LoadPixels(1, window=(0, 60000))({'img_path': path})['img'].shape == (3, 4, 1)

    with_chunks(image(tmp_path / 'grey.png', 'L'), name, data, 900, first)
    assert GivenMaps(tmp_path).read('grey.png', (9, 7)).max() == 1
    assert len(decoded) == 4 and max(map(len, decoded)) < 1000


def test_what_is_no_chunk_stays():
    for content in (b'iTXt', b'\x89PNG\r\n\x1a\n' + b'\xff' * 9 + b'iTXt' + bytes(20)):
        assert without_texts(content) == content


@pytest.mark.parametrize('name', TEXTS)
@pytest.mark.parametrize('read', [
    lambda path: LoadImage()({'img_path': path}), lambda path: LoadPixels(3)({'img_path': path}),
    lambda path: read_mask(path, False, None), lambda path: read_frame(path, 0)])
def test_pillow_is_given_few_texts(tmp_path, name, read):
    path = with_chunks(image(tmp_path / 'a.png', 'RGBA'), name, TEXTS[name], 101)
    with pytest.raises((InputError, ValueError), match='more than 100 compressed texts'):
        read(path)


def test_some_texts_are_no_matter(tmp_path):
    path = with_chunks(image(tmp_path / 'a.png', 'RGBA'), 'zTXt', TEXTS['zTXt'], 20, first=False)
    assert LoadImage()({'img_path': path})['img'].shape == (9, 7, 3)


def test_a_map_of_another_format_is_not_decoded(tmp_path, decoded):
    # Its size would have to be known before.
    cv2.imwrite(str(tmp_path / 'a.tiff'), np.zeros((9, 7), np.float32))
    (tmp_path / 'a.tiff').rename(tmp_path / 'a.png')
    with pytest.raises(InputError, match='a.png: not a PNG file'):
        GivenMaps(tmp_path).read('a.png', (9, 7))
    assert not decoded
