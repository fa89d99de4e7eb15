"""Images of any depth: what is read equals what was written, or is refused."""

import io
import struct
import sys
import tracemalloc
import zipfile
from importlib.util import find_spec

import cv2
import numpy as np
import pytest
import tifffile
from deep_images import deep_png, read, values, write_16_bit_png, write_bands, write_dicom
from PIL import Image, ImageOps

from amt_mm.datasets.frames import read_frame
from amt_mm.datasets.pixel_arrays import read_pixels
from amt_mm.errors import InputError


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_16_bits_of_a_png_stay(tmp_path, channels):
    image = values((5, 7, channels), 'uint16', 4096)
    write_16_bit_png(tmp_path / 'a.png', image)  # OpenCV has blue first
    order = [2, 1, 0, 3][:channels] if channels > 1 else [0]
    found = read(tmp_path / 'a.png')
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, image[:, :, order])


@pytest.mark.parametrize('colour_type', [0, 2, 4, 6])
def test_channels_of_a_deep_png_are_those_of_its_header(colour_type):
    samples = {0: 1, 2: 3, 4: 2, 6: 4}[colour_type]
    image = values((5, 7, samples), 'uint16', 65536)
    # A colour that is to be transparent is no channel, as in 8 bits.
    key = image[0, 0].astype('>u2').tobytes() if colour_type < 4 else None
    for chunks in ({}, {b'tRNS': key} if key else {}):
        content = deep_png(image, colour_type, chunks)
        np.testing.assert_array_equal(read_pixels(content, 'a.png'), image)


@pytest.mark.parametrize('orientation', range(10))
@pytest.mark.parametrize('chunk', [b'eXIf', b'iTXt'])
def test_a_deep_png_is_turned_as_others(orientation, chunk):
    image = values((5, 7), 'uint8', 256)
    exif = Image.Exif()
    exif[0x0112] = orientation
    chunks = {chunk: exif.tobytes()[6:] if chunk == b'eXIf' else (
        b'XML:com.adobe.xmp\0\0\0\0\0tiff:Orientation="%d"' % orientation)}
    deep = read_pixels(deep_png(image * np.uint16(257), 0, chunks), 'a.png')
    file = io.BytesIO()
    Image.fromarray(image).save(file, 'png', exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(file)))
    np.testing.assert_array_equal(deep[:, :, 0], upright * np.uint16(257))


@pytest.mark.parametrize('name', ['a.png', 'a.jp2', 'a.pgm'])
def test_a_deep_image_beyond_the_limit_is_not_decoded(tmp_path, monkeypatch, name):
    write_16_bit_png(tmp_path / name, values((50, 70), 'uint16', 4096))
    assert read(tmp_path / name).shape == (50, 70, 1)
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 50 * 70 // 2 - 1)
    monkeypatch.setattr(cv2, 'imdecode', None)
    with pytest.raises(Image.DecompressionBombError):
        read(tmp_path / name)


def test_frames_of_more_than_8_bits_are_not_dropped():
    image = values((5, 7, 1), 'uint16', 65536)
    # Two frames, the first one that of the image itself.
    control = struct.pack('>IIIIIHHBB', 0, 7, 5, 0, 0, 1, 10, 0, 0)
    content = deep_png(image, 0, {b'acTL': struct.pack('>II', 2, 0), b'fcTL': control})
    with pytest.raises(ValueError, match='animation of more than 8 bits'):
        read_pixels(content, 'a.png', pages=0)


@pytest.mark.parametrize('mode', ['L', 'RGB', 'RGBA', 'LA'])
def test_8_bits_are_as_pillow_has_them(tmp_path, mode):
    image = Image.fromarray(values((5, 7, 4), 'uint8', 256), 'RGBA').convert(mode)
    image.save(tmp_path / 'a.png')
    np.testing.assert_array_equal(read(tmp_path / 'a.png'),
                                  np.asarray(image).reshape(5, 7, len(mode)))


def test_a_palette_is_colours_and_a_turned_photograph_is_turned(tmp_path):
    image = Image.fromarray(values((5, 7, 3), 'uint8', 256)).quantize(4)
    image.save(tmp_path / 'a.png')
    np.testing.assert_array_equal(read(tmp_path / 'a.png'), np.asarray(image.convert('RGB')))
    exif = Image.Exif()
    exif[0x0112] = 6
    grey = Image.fromarray(values((5, 7), 'uint8', 256))
    grey.save(tmp_path / 'b.png', exif=exif)
    np.testing.assert_array_equal(read(tmp_path / 'b.png')[:, :, 0],
                                  np.rot90(np.asarray(grey), -1))


def test_frames_of_an_animation_are_pages(tmp_path):
    frames = [Image.fromarray(np.full((5, 7), value, np.uint8)) for value in (3, 90)]
    frames[0].save(tmp_path / 'a.png', save_all=True, append_images=frames[1:])
    assert read(tmp_path / 'a.png', pages='channels')[2, 2].tolist() == [3, 90]


@pytest.mark.parametrize(('shape', 'options', 'order'), [
    ((5, 7), {}, None), ((5, 7, 3), {}, None), ((3, 5, 7), {}, (1, 2, 0)),
    ((3, 5, 3), {'channel_axis': 0}, (1, 2, 0)), ((5, 7, 9), {'channel_axis': -1}, None)])
@pytest.mark.parametrize('suffix', ['npy', 'npz'])
def test_arrays(tmp_path, shape, options, order, suffix):
    array = values(shape, 'int32', 4000, low=-4000)
    (np.save if suffix == 'npy' else np.savez)(tmp_path / f'a.{suffix}', array)
    wanted = array.transpose(order) if order else array.reshape(*shape[:2], -1)
    np.testing.assert_array_equal(read(tmp_path / f'a.{suffix}', **options), wanted)


@pytest.mark.parametrize('array', [np.zeros(3), np.zeros((2, 3, 4, 5)), np.array([['a']])])
def test_other_arrays_are_no_images(tmp_path, array):
    np.save(tmp_path / 'a.npy', array)
    with pytest.raises(ValueError, match='is not an image'):
        read(tmp_path / 'a.npy')


def test_an_array_runs_no_code(tmp_path):
    np.save(tmp_path / 'a.npy', np.array([[print]], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match='pickle'):
        read(tmp_path / 'a.npy')


@pytest.mark.parametrize('suffix', ['npy', 'npz'])
@pytest.mark.parametrize(('descr', 'shape'), [('<u2', (100_000, 100_000)),
                                              ('|V2000000000', (2, 5))])
def test_an_array_takes_no_more_memory_than_its_file_may_ask_for(descr, shape, suffix):
    # Of some bytes, and refused before memory for 20 GB is asked for.
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, dict(descr=descr, fortran_order=False, shape=shape))
    content = file.getvalue()
    if suffix == 'npz':
        file = io.BytesIO()
        with zipfile.ZipFile(file, 'w') as archive:
            archive.writestr('a.npy', content)
        content = file.getvalue()
    with pytest.raises(Image.DecompressionBombError):
        read_pixels(content, f'a.{suffix}')


def test_a_header_is_not_read_for_long():
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('a.npy', np.lib.format.magic(2, 0) + struct.pack('<I', 1 << 27)
                         + bytes(1 << 27))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match='header'):
            read_pixels(file.getvalue(), 'a.npz')
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize('name', ['a.tif', 'a.dcm', 'a.png', 'a.npy'])
def test_half_a_file_is_refused(tmp_path, name):
    image = values((50, 70), 'uint16', 4096)
    {'a.tif': tifffile.imwrite, 'a.dcm': write_dicom, 'a.png': write_16_bit_png,
     'a.npy': np.save}[name](tmp_path / name, image)
    content = (tmp_path / name).read_bytes()
    with pytest.raises(Exception, match=r'.') as error:
        read_pixels(content[:len(content) // 2], name)
    assert not isinstance(error.value, InputError)
    with pytest.raises(ValueError, match='empty'):
        read_pixels(b'', name)


@pytest.mark.parametrize(('name', 'package'), [
    ('a.tif', 'tifffile'), ('a.dcm', 'pydicom'), ('b.tif', 'imagecodecs')])
def test_a_missing_package_is_named(tmp_path, monkeypatch, name, package):
    image = values((5, 7), 'uint16', 99)
    if package == 'imagecodecs':
        if find_spec(package):
            pytest.skip('tifffile has taken it already')
        Image.fromarray(image).save(tmp_path / name, compression='tiff_lzw')
    else:
        (write_dicom if package == 'pydicom' else tifffile.imwrite)(tmp_path / name, image)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"need {package}: pip install 'amt_mm\[images\]'"):
        read(tmp_path / name)


@pytest.mark.parametrize('name', ['a.npy', 'a.tif'])
@pytest.mark.parametrize(('shape', 'refused'), [
    ((6, 5, 7), None), ((9, 5, 7), r'315 values of 1 byte\(s\)'), ((1, 9, 12), '12 x 9 pixels')])
def test_many_channels_are_not_many_pixels(tmp_path, monkeypatch, name, shape, refused):
    # At most 100 pixels and, in all channels, 300 values.
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 50)
    bands = values(shape, 'uint8', 256)
    (np.save if name == 'a.npy' else write_bands)(tmp_path / name, bands)
    # As the only frame of its file.
    if name == 'a.npy':
        np.save(tmp_path / 'frame.npy', bands.transpose(1, 2, 0)[None])
    frame = tmp_path / ('frame.npy' if name == 'a.npy' else name)
    for how in (lambda: read(tmp_path / name), lambda: read_frame(str(frame), 0)):
        if refused:
            with pytest.raises(Image.DecompressionBombError, match=f'its header says {refused}'):
                how()
        else:
            np.testing.assert_array_equal(how(), bands.transpose(1, 2, 0))
