"""LoadMask: kinds of PNG, ignored labels, sizes, and what is refused."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from amt_mm.datasets import LoadImage, LoadMask
from amt_mm.errors import InputError

LABELS = np.array([[0, 1, 2], [255, 1, 3]], np.uint8)


@pytest.fixture
def load(tmp_path):
    """The factory ``load(image, **info)`` of the results of a mask."""

    def make(image, reduce_zero_label=False, num_classes=None):
        if not isinstance(image, bytes):
            image = image if isinstance(image, Image.Image) else Image.fromarray(image)
            image.save(tmp_path / 'm.png')
        else:
            (tmp_path / 'm.png').write_bytes(image)
        return LoadMask()(dict(seg_map_path=str(tmp_path / 'm.png'), num_classes=num_classes,
                               reduce_zero_label=reduce_zero_label))

    return make


def png(width, height):
    """A PNG whose header claims this size, with a byte of data."""
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack(
            '>I', zlib.crc32(kind + data))

    header = struct.pack('>IIBBBBB', width, height, 8, 0, 0, 0, 0)
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header)
            + chunk(b'IDAT', zlib.compress(b'0')) + chunk(b'IEND', b''))


def palette(labels):
    image = Image.fromarray(labels, 'P')
    image.putpalette([255 - i for i in range(256) for _ in range(3)])
    return image


@pytest.mark.parametrize('image', [LABELS, palette(LABELS), LABELS.astype(np.uint16)],
                         ids=['8', 'palette', '16'])
def test_values_are_classes_whatever_the_kind_of_png(load, image):
    found = load(image)
    assert found['gt_seg_map'].dtype == np.uint8
    np.testing.assert_array_equal(found['gt_seg_map'], LABELS)
    assert (found['height'], found['width']) == (2, 3)
    wanted = np.zeros(256, int)
    wanted[[0, 1, 2, 3, 255]] = [1, 2, 1, 1, 1]
    np.testing.assert_array_equal(found['label_pixels'], wanted)


def test_two_colours_are_two_classes(load):
    image = Image.fromarray(np.array([[0, 255], [255, 0]], np.uint8)).convert('1')
    np.testing.assert_array_equal(load(image)['gt_seg_map'], [[0, 1], [1, 0]])


def test_zero_is_no_label_where_classes_count_from_1(load):
    found = load(LABELS, reduce_zero_label=True, num_classes=3)['gt_seg_map']
    np.testing.assert_array_equal(found, [[255, 0, 1], [255, 0, 2]])


@pytest.mark.parametrize(('image', 'info', 'message'), [
    (np.zeros((2, 3, 3), np.uint8), {}, r'm.png: is a colour image \(RGB\)'),
    (np.zeros((2, 3, 4), np.uint8), {}, r'is a colour image \(RGBA\)'),
    (LABELS, dict(num_classes=3), 'm.png: has the label 3, and 3 classes are 0 to 2 '
                                  r'\(255 ignored\)'),
    (LABELS, dict(num_classes=2, reduce_zero_label=True),
     r'the label 3, and 2 classes are 1 to 2 \(0 and 255 ignored\)'),
    (np.full((2, 3), 300, np.uint16), {}, 'the label 300, and 255 classes are 0 to 254'),
    (b'no image', {}, 'm.png: cannot be read as a mask'),
    (png(30000, 30000), {}, 'm.png: cannot be read as a mask: .*900000000 pixels')])
def test_masks_that_are_none_are_one_line(load, image, info, message):
    with pytest.raises(InputError, match=message):
        load(image, **info)


def test_an_image_of_another_size_is_refused_and_one_labelled_as_stored_is_not_turned(
        load, tmp_path):
    results = load(LABELS)
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    for size, options in (((3, 2), {}), ((3, 2), dict(exif=exif)), ((2, 3), dict(exif=exif))):
        Image.new('RGB', size, 'red').save(tmp_path / 'i.jpg', **options)
        found = LoadImage()({**results, 'img_path': str(tmp_path / 'i.jpg')})
        assert found['img'].shape[:2] == found['gt_seg_map'].shape
    Image.new('RGB', (5, 2)).save(tmp_path / 'i.jpg')
    with pytest.raises(InputError, match='i.jpg: has 2 x 5 pixels, but its labels are for 2 x 3'):
        LoadImage()({**results, 'img_path': str(tmp_path / 'i.jpg')})
