"""Only formats that photographs have are opened: no programs, none that Python decodes."""

import gzip

import numpy as np
import pillow_heif
import pytest
from deep_images import deep_png
from PIL import EpsImagePlugin, Image, UnidentifiedImageError

from amt_mm.datasets import LoadImage, LoadPixels
from amt_mm.datasets.frames import read_frame
from amt_mm.datasets.load_mask import read_mask
from amt_mm.datasets.pixel_arrays import read_pixels
from amt_mm.errors import InputError

READERS = pytest.mark.parametrize('read', [
    lambda path: LoadImage()({'img_path': path}), lambda path: LoadPixels(3)({'img_path': path}),
    lambda path: read_mask(path, False, None), lambda path: read_frame(path, 0)])


@READERS
def test_postscript_is_refused_whatever_its_name(tmp_path, monkeypatch, read):
    Image.new('RGB', (9, 7)).save(tmp_path / 'a.eps')
    path = (tmp_path / 'a.eps').rename(tmp_path / 'a.jpg')
    ran = []
    monkeypatch.setattr(EpsImagePlugin, 'Ghostscript', lambda *_, **__: ran.append(1))
    with pytest.raises((InputError, UnidentifiedImageError), match='an unknown image format'):
        read(str(path))
    assert not ran


@READERS
def test_a_format_of_other_trades_is_refused(tmp_path, read):
    # Compressed FITS, which Pillow decodes in Python, pixel by pixel.
    def block(*cards):
        text = ''.join(f'{card:80}' for card in (*cards, 'END'))
        return text.ljust(-(-len(text) // 2880) * 2880).encode()

    number = '{:8}= {:>20}'.format
    values = gzip.compress(bytes(4 * 8 * 8))
    (tmp_path / 'a.png').write_bytes(block(
        number('SIMPLE', 'T'), number('BITPIX', 8), number('NAXIS', 0)) + block(
        "XTENSION= 'BINTABLE'", number('BITPIX', 8), number('NAXIS', 2), number('NAXIS1', 8),
        number('NAXIS2', 1), number('PCOUNT', len(values)), number('ZIMAGE', 'T'),
        "ZCMPTYPE= 'GZIP_1  '", number('ZBITPIX', 8), number('ZNAXIS', 2), number('ZNAXIS1', 8),
        number('ZNAXIS2', 8)) + bytes(8) + values)
    assert Image.open(tmp_path / 'a.png').size == (8, 8)
    with pytest.raises((InputError, UnidentifiedImageError),
                       match='an unknown image format'):
        read(str(tmp_path / 'a.png'))


@pytest.mark.parametrize('read', [
    lambda path: LoadImage()({'img_path': path})['img'], lambda path: read_frame(path, 0),
    lambda path: LoadPixels(3)({'img_path': path})['img']])
def test_heic_is_read_by_each_on_its_own(tmp_path, monkeypatch, read):
    # One reader must not depend on another that knew the format first.
    monkeypatch.delitem(Image.OPEN, 'HEIF', raising=False)
    pillow_heif.from_bytes('RGB', (16, 8), bytes(384)).save(tmp_path / 'a.heic')
    assert read(str(tmp_path / 'a.heic')).shape == (8, 16, 3)


@pytest.mark.parametrize('read', [
    lambda path: LoadImage()({'img_path': path})['img'][:, :, ::-1],
    lambda path: read_frame(path, 0)])
@pytest.mark.parametrize('name', ['a.png', 'a.webp'])
def test_damaged_exif_damages_no_pixels(tmp_path, name, read):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    exif = Image.Exif()
    exif[274], exif[282] = 6, 72.0
    # Numbers that are said to be a text: they can be read, but not be written again.
    half = exif.tobytes().replace(b'\x01\x1a\x00\x05', b'\x01\x1a\x00\x02')
    for damaged, wanted in ((b'junkjunkjunk', image), (half, np.rot90(image, -1))):
        Image.fromarray(image).save(tmp_path / name, exif=damaged, lossless=True)
        np.testing.assert_array_equal(read(str(tmp_path / name)), wanted)


def test_damaged_exif_damages_no_deep_pixels():
    image = np.arange(35, dtype=np.uint16).reshape(5, 7, 1)
    np.testing.assert_array_equal(
        read_pixels(deep_png(image, 0, {b'eXIf': b'junkjunkjunk'}), 'a.png'), image)
