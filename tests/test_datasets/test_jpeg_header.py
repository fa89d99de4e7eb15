import io

import numpy as np
import pytest
from PIL import Image

from amt_mm.datasets.jpeg_header import read_jpeg_header


def jpeg(mode='RGB', size=(53, 37), **options):
    file = io.BytesIO()
    pixels = np.random.RandomState(0).randint(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).convert(mode).save(file, 'JPEG', **options)
    return file.getvalue()


@pytest.mark.parametrize('subsampling, unit', [(0, 8), (1, 16), (2, 16)])
@pytest.mark.parametrize('progressive', [False, True])
@pytest.mark.parametrize('kind', [bytes, memoryview])
def test_size_and_unit(subsampling, unit, progressive, kind):
    header = read_jpeg_header(kind(jpeg(subsampling=subsampling, progressive=progressive)))
    assert (header.height, header.width, header.mcu_width, header.upright) == (37, 53, unit, True)


@pytest.mark.parametrize(('place', 'value'), [
    (1, b'\0\0'), (3, b'\0\0'), (7, b'\0'), (7, b'\x02'), (7, b'\x51')])
def test_an_invalid_frame_is_left_to_the_decoder(place, value):
    content = bytearray(jpeg())
    start = content.index(b'\xff\xc0') + 4 + place
    content[start:start + len(value)] = value
    assert read_jpeg_header(bytes(content)) is None


def test_grey_is_plain_and_cmyk_is_not():
    assert read_jpeg_header(jpeg('L')).mcu_width == 8
    assert read_jpeg_header(jpeg('CMYK')) is None
    assert read_jpeg_header(b'\x89PNG\r\n\x1a\n' + bytes(50)) is None
    assert read_jpeg_header(b'') is None


@pytest.mark.parametrize('orientation', range(1, 9))
def test_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    header = read_jpeg_header(jpeg(exif=exif))
    assert header.upright == (orientation == 1)
    assert (header.height, header.width) == (37, 53)


def test_a_thumbnail_in_the_exif_data_is_ignored():
    exif = Image.Exif()
    exif[0x010E] = jpeg(size=(8, 8)).decode('latin1')
    assert read_jpeg_header(jpeg(exif=exif)).width == 53


def test_truncated():
    with pytest.raises(ValueError, match='truncated'):
        read_jpeg_header(jpeg()[:-100])
    assert read_jpeg_header(jpeg() + b'appended') is not None
