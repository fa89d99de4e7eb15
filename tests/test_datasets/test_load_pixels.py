import sys

import numpy as np
import pytest
import tifffile
from deep_images import values, write_16_bit_png, write_bands, write_dicom
from mmpretrain.registry import TRANSFORMS
from PIL import Image

from amt_mm.apis.image_statistics import image_statistics
from amt_mm.datasets import LoadPixels, PackInputsWithBox, RandomResizedCropWithBox
from amt_mm.errors import InputError, UnreadableImage


def load(path, **kwargs):
    return LoadPixels(**kwargs)({'img_path': str(path)})['img']


def test_it_is_registered_and_fills_the_sample(tmp_path):
    write_bands(tmp_path / 'a.tif', values((6, 5, 7), 'uint16', 4000))
    loader = TRANSFORMS.build(dict(type='amt_mm.LoadPixels', channels=6, window=(0, 4000)))
    results = loader({'img_path': str(tmp_path / 'a.tif')})
    assert results['img'].shape == (5, 7, 6) and results['img'].dtype == np.float32
    assert results['img_shape'] == results['ori_shape'] == (5, 7)


def test_channels_are_chosen_in_the_order_given(tmp_path):
    bands = values((6, 5, 7), 'uint8', 256)
    write_bands(tmp_path / 'a.tif', bands)
    np.testing.assert_array_equal(load(tmp_path / 'a.tif', channels=[3, 0]),
                                  bands[[3, 0]].transpose(1, 2, 0))
    with pytest.raises(InputError, match=r'a\.tif: has 6 channel.*none of index 6'):
        load(tmp_path / 'a.tif', channels=[0, 6])


def test_a_ct_of_12_bits_keeps_its_levels(tmp_path):
    write_16_bit_png(tmp_path / 'a.png', values((50, 70), 'uint16', 4096))
    write_dicom(tmp_path / 'a.dcm', values((50, 70), 'uint16', 4096))
    for name in ('a.png', 'a.dcm'):
        found = load(tmp_path / name, channels=1, window=(0, 4095))
        assert len(np.unique(found)) > 2000
        np.testing.assert_allclose(found[:, :, 0] / 255 * 4095,
                                   values((50, 70), 'uint16', 4096), atol=1e-3)


def test_colours_are_in_the_order_of_the_file(tmp_path):
    image = values((5, 7, 3), 'uint8', 256)
    Image.fromarray(image).save(tmp_path / 'a.png')
    np.testing.assert_array_equal(load(tmp_path / 'a.png', channels=3), image)


def test_deep_values_need_a_window(tmp_path):
    tifffile.imwrite(tmp_path / 'a.tif', np.array([[7, 3071]], np.uint16))
    with pytest.raises(InputError, match=r'a\.tif: uint16 values from 7 to 3071.*pixels\.window'):
        load(tmp_path / 'a.tif', channels=1)


def test_another_number_of_channels_stops_and_damage_is_named(tmp_path):
    write_bands(tmp_path / 'a.tif', values((6, 5, 7), 'uint8', 256))
    with pytest.raises(InputError, match=r'a\.tif: has 6 channel.*pixels\.channels is 4'):
        load(tmp_path / 'a.tif', channels=4)
    content = (tmp_path / 'a.tif').read_bytes()
    (tmp_path / 'b.tif').write_bytes(content[:len(content) - 40])
    with pytest.raises(UnreadableImage, match=r'b\.tif: unreadable image'):
        load(tmp_path / 'b.tif', channels=6)
    assert LoadPixels(6, ignore_empty=True)({'img_path': str(tmp_path / 'b.tif')}) is None


@pytest.mark.parametrize('settings', [
    dict(channels=0), dict(channels=True), dict(channels='6'), dict(channels=[]),
    dict(channels=[1, 1]), dict(channels=[-1]), dict(channels=1, pages='slices'),
    dict(channels=1, pages='frames', channel_axis=-1),
    dict(channels=1, pages=-1), dict(channels=1, pages=True), dict(channels=1, channel_axis=1),
    dict(channels=2, window=[(0, 1)])])
def test_settings_that_cannot_be(settings):
    with pytest.raises(InputError, match=r'pixels\.'):
        LoadPixels(**settings)


@pytest.mark.parametrize('channels', [1, 2, 3, 6, 20])
@pytest.mark.parametrize('deep', [False, True])
def test_crops_are_of_all_channels(tmp_path, channels, deep):
    bands = values((channels, 30, 44), 'uint16' if deep else 'uint8', 256)
    write_bands(tmp_path / 'a.tif', bands)
    results = LoadPixels(channels, window=(0, 255) if deep else None)(
        {'img_path': str(tmp_path / 'a.tif'), 'sample_idx': 3})
    # All of the image, so that only the resize changes it.
    crop = RandomResizedCropWithBox((15, 22), crop_ratio_range=(1., 1.),
                                    aspect_ratio_range=(44 / 30, 44 / 30), interpolation='area',
                                    backend='cv2')
    packed = PackInputsWithBox()({**crop(results), 'flip': False, 'flip_direction': None})
    inputs = packed['inputs']
    assert inputs.shape == (channels, 15, 22) and inputs.is_contiguous()
    cells = bands.reshape(channels, 15, 2, 22, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(inputs.numpy(), cells, atol=.51)


@pytest.mark.parametrize('look', [lambda path: load(path, channels=1),
                                  lambda path: image_statistics(path.parent)])
def test_the_file_that_needs_a_package_is_named(tmp_path, monkeypatch, look):
    write_dicom(tmp_path / 'a.dcm', values((5, 7), 'uint16', 9))
    monkeypatch.setitem(sys.modules, 'pydicom', None)
    with pytest.raises(InputError, match=r'/a\.dcm: DICOM files need pydicom: pip install'):
        look(tmp_path / 'a.dcm')


def turned_photograph(path):
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(values((7, 5, 3), 'uint8', 256)).save(path, exif=exif)


@pytest.mark.parametrize(('name', 'write', 'options'), [
    ('a.tif', lambda path: write_bands(path, values((6, 5, 7), 'uint8', 256)), {'channels': 6}),
    ('a.npy', lambda path: np.save(path, values((6, 5, 7), 'uint8', 256)), {'channels': 6}),
    ('a.jpg', turned_photograph, {'channels': [1], 'window': (0, 99)})])
def test_an_image_of_another_size_than_its_labels_is_refused(tmp_path, name, write, options):
    write(tmp_path / name)
    sample = {'img_path': str(tmp_path / name), 'height': 5, 'width': 7}
    assert LoadPixels(**options)(dict(sample))['img_shape'] == (5, 7)
    with pytest.raises(InputError, match=f'{name}: has 5 x 7 pixels, but its labels are for 7 x 5'):
        LoadPixels(**options)({**sample, 'height': 7, 'width': 5})
