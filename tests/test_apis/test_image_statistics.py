"""Statistics of a folder against numpy on all of its pixels."""

import errno
from pathlib import Path

import numpy as np
import pytest
import tifffile
from deep_images import values, write_16_bit_png, write_bands
from PIL import Image

from amt_mm.apis.image_statistics import config_fragment, image_statistics
from amt_mm.errors import InputError


def test_photographs(tmp_path):
    images = [values((20 + i, 30, 3), 'uint8', 256 - 20 * i, seed=i) for i in range(5)]
    for index, image in enumerate(images):
        (tmp_path / 'ab'[index % 2]).mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / 'ab'[index % 2] / f'{index}.png')
    found = image_statistics(tmp_path)
    assert found.photographs and found.window is None and found.images == 5
    assert found.sizes == {(20 + i, 30): 1 for i in range(5)}
    # Each image counts the same, whatever its size.
    mean = np.mean([image.mean(axis=(0, 1)) for image in images], axis=0)
    square = np.mean([(image.astype(float)**2).mean(axis=(0, 1)) for image in images], axis=0)
    for index, channel in enumerate(found.channels):
        assert channel.mean == pytest.approx(mean[index])
        assert channel.std == pytest.approx(np.sqrt(square[index] - mean[index]**2))
        assert channel.low == min(image[..., index].min() for image in images)
        assert channel.high == max(image[..., index].max() for image in images)
    fragment = config_fragment(found)
    np.testing.assert_allclose(fragment['data_preprocessor']['mean'], mean, atol=.001)
    assert set(fragment) == {'data_preprocessor'}


def test_bands_get_windows_of_percentiles(tmp_path):
    bands = [values((6, 40, 50), 'uint16', 4000, seed=i) * np.arange(1, 7)[:, None, None]
             for i in range(4)]
    for index, image in enumerate(bands):
        write_bands(tmp_path / f'{index}.tif', image.astype(np.uint16))
    found = image_statistics(tmp_path)
    assert found.kinds == {('uint16', 6): 4} and not found.photographs
    everything = np.stack(bands).transpose(1, 0, 2, 3).reshape(6, -1)
    for index, (low, high) in enumerate(found.window):
        np.testing.assert_allclose([low, high], np.percentile(everything[index], [.5, 99.5]),
                                   rtol=.01)
        scaled = np.clip((everything[index] - low) / (high - low), 0, 1) * 255
        assert found.channels[index].mean == pytest.approx(scaled.mean(), abs=.01)
        assert found.channels[index].std == pytest.approx(scaled.std(), abs=.01)
    pixels = config_fragment(found)['overlay']['pixels']
    assert pixels['channels'] == 6 and len(pixels['window']) == len(pixels['mean']) == 6


@pytest.mark.parametrize('dtype', ['uint16', 'uint8'])
def test_frames_count_as_images(tmp_path, dtype):
    stack = values((5, 12, 17), dtype, 250)
    stack[3] = stack[1]
    tifffile.imwrite(tmp_path / 'a.tif', stack, photometric='minisblack')
    tifffile.imwrite(tmp_path / 'b.tif', stack[0], photometric='minisblack')
    found = image_statistics(tmp_path, 'frames')
    assert found.images == 6 and found.kinds == {(dtype, 1): 6} and found.sizes == {(12, 17): 6}
    assert found.duplicates == (('a.tif#1', 'a.tif#3'), )
    pixels = config_fragment(found, 'frames')['overlay']['pixels']
    assert pixels['pages'] == 'frames' and pixels['channels'] == 1
    scaled = np.concatenate([stack, stack[:1]]).astype(float)
    if dtype == 'uint16':
        low, high = pixels['window'][0]
        scaled = np.clip((scaled - low) / (high - low), 0, 1) * 255
    assert pixels['mean'] == [pytest.approx(scaled.mean(), abs=.01)]


def test_a_large_image_counts_as_much_as_a_small_one(tmp_path):
    write_16_bit_png(tmp_path / 'a.png', np.full((300, 500), 1000, np.uint16))
    write_16_bit_png(tmp_path / 'b.png', np.full((10, 10), 3000, np.uint16))
    found = image_statistics(tmp_path)
    assert found.window == ((1000.0, 3000.0), )
    assert found.channels[0].mean == pytest.approx(127.5)


def test_missing_values_decide_nothing(tmp_path):
    image = np.random.default_rng(0).random((30, 40)).astype(np.float32)
    with_holes = image.copy()
    with_holes[:10] = np.nan
    np.save(tmp_path / 'a.npy', with_holes)
    (low, high), = image_statistics(tmp_path).window
    np.testing.assert_allclose([low, high], np.percentile(image[10:], [.5, 99.5]), atol=.01)


def test_a_window_leaves_out_the_missing_pixels_of_a_raster(tmp_path):
    image = values((30, 40), 'int16', 400)
    image[:10] = -9999
    tifffile.imwrite(tmp_path / 'a.tif', image, extratags=[(42113, 's', 0, '-9999', True)])
    (low, high), = image_statistics(tmp_path).window
    np.testing.assert_allclose([low, high], np.percentile(image[10:], [.5, 99.5]), atol=2)


@pytest.mark.parametrize('value', [7, np.nan])
def test_a_channel_of_one_value(tmp_path, value):
    np.save(tmp_path / 'a.npy', np.full((9, 11), value, np.float32))
    found = image_statistics(tmp_path)
    (low, high), = found.window
    assert low < high
    assert config_fragment(found)['overlay']['pixels']['std'] == [1.0]


def test_broken_files_and_copies_are_named(tmp_path):
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        Image.fromarray(values((20, 30, 3), 'uint8', 256, seed=seed)).save(tmp_path / f'{name}.png')
    (tmp_path / 'd.png').write_bytes((tmp_path / 'c.png').read_bytes()[:300])
    found = image_statistics(tmp_path)
    assert found.duplicates == (('a.png', 'b.png'), )
    assert set(found.broken) == {'d.png'} and found.images == 3
    assert found.to_json()['kinds'] == [['uint8', 3, 3]]


def test_a_file_is_not_broken_when_the_system_lacks_handles(tmp_path, monkeypatch):
    for name in 'ab':
        Image.fromarray(values((8, 9), 'uint8', 99)).save(tmp_path / f'{name}.png')

    def read(path):
        if path.name == 'b.png':
            raise OSError(errno.EMFILE, 'Too many open files')
        return path.open('rb').read()

    monkeypatch.setattr(Path, 'read_bytes', read)
    with pytest.raises(OSError, match='Too many open files'):
        image_statistics(tmp_path)


def test_want_of_memory_names_the_file(tmp_path, monkeypatch):
    Image.fromarray(values((8, 9), 'uint8', 99)).save(tmp_path / 'a.png')

    def read(*_):
        raise MemoryError

    monkeypatch.setattr('amt_mm.apis.image_statistics.read_pixels', read)
    with pytest.raises(InputError, match=r'a\.png: not enough memory'):
        image_statistics(tmp_path)


def test_images_that_differ_have_no_statistics_in_common(tmp_path):
    write_bands(tmp_path / 'a.tif', values((6, 8, 9), 'uint16', 99))
    write_16_bit_png(tmp_path / 'b.png', values((8, 9), 'uint16', 99))
    found = image_statistics(tmp_path)
    assert found.channels == ()
    with pytest.raises(InputError, match='differ in their channels .*1 of uint16 with 6'):
        config_fragment(found)


def test_8_bits_and_more_have_no_window_in_common(tmp_path):
    for index, (dtype, high) in enumerate([('uint8', 256), ('uint16', 4096)]):
        tifffile.imwrite(tmp_path / f'{index}.tif', values((8, 9), dtype, high))
    found = image_statistics(tmp_path)
    with pytest.raises(InputError, match='or bits .*1 of uint8 .*1 of uint16 .*sort them into'):
        config_fragment(found)


def test_grey_and_coloured_photographs_need_nothing(tmp_path):
    Image.fromarray(values((8, 9), 'uint8', 99)).save(tmp_path / 'a.png')
    Image.fromarray(values((8, 9, 3), 'uint8', 99)).save(tmp_path / 'b.png')
    assert config_fragment(image_statistics(tmp_path)) == {}


def test_nothing_that_can_be_read(tmp_path):
    (tmp_path / 'a.png').write_bytes(b'no image')
    with pytest.raises(InputError, match='1 images can be read; a.png: .* unknown image format$'):
        image_statistics(tmp_path)
    with pytest.raises(InputError, match='does not exist'):
        image_statistics(tmp_path / 'none')
