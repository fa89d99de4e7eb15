"""Large images are decoded once, and read from small copies afterwards."""

import errno

import cv2
import numpy as np
import pytest
from PIL import Image

from amt_mm.datasets import LoadImage, LoadReducedImage
from amt_mm.errors import InputError, UnreadableImage


@pytest.fixture(params=['png', 'jpg'])
def photograph(tmp_path, request):
    """301 x 420 pixels of smooth colours."""
    rows, columns = np.mgrid[:301, :420]
    image = np.stack([rows * 255 / 300, columns * 255 / 419, (rows + columns) * 255 / 719], -1)
    path = tmp_path / f'a photo.{request.param}'
    cv2.imwrite(str(path), image.round().astype(np.uint8))
    return path


def load(path, folder, side=40):
    return LoadReducedImage(str(folder), side)({'img_path': str(path)})


def test_a_copy_is_read_in_place_of_the_file(photograph, tmp_path, monkeypatch):
    copies = tmp_path / 'below/copies'
    first = load(photograph, copies)
    assert first['img_shape'] == first['ori_shape'] == first['img'].shape[:2] == (40, 56)
    with Image.open(photograph) as image:
        expected = np.asarray(image.resize((56, 40), Image.Resampling.BOX))[:, :, ::-1]
    assert np.abs(first['img'].astype(int) - expected).max() <= 4
    assert len(list(copies.iterdir())) == 1

    def refuse(self, path):
        raise AssertionError('the file was read again')
    monkeypatch.setattr(LoadImage, '_get', refuse)
    np.testing.assert_array_equal(load(photograph, copies)['img'], first['img'])


def test_a_changed_file_gets_another_copy(photograph, tmp_path):
    load(photograph, tmp_path / 'copies')
    cv2.imwrite(str(photograph), np.full((200, 300, 3), 7, np.uint8))
    changed = load(photograph, tmp_path / 'copies')['img']
    assert changed.shape == (40, 60, 3) and abs(changed.mean() - 7) < 1
    # So does another size.
    assert load(photograph, tmp_path / 'copies', side=50)['img'].shape == (50, 75, 3)


def test_a_damaged_copy_is_made_again(photograph, tmp_path):
    first = load(photograph, tmp_path / 'copies')['img']
    copy, = (tmp_path / 'copies').iterdir()
    whole = copy.read_bytes()
    copy.write_bytes(whole[:-100])
    np.testing.assert_array_equal(load(photograph, tmp_path / 'copies')['img'], first)
    assert copy.read_bytes() == whole


def test_images_of_about_that_size_are_read_as_they_are(photograph, tmp_path):
    same = load(photograph, tmp_path / 'copies', side=201)['img']  # 301 is just below 1.5 x 201
    np.testing.assert_array_equal(same, LoadImage()({'img_path': str(photograph)})['img'])
    assert not (tmp_path / 'copies').exists()


def test_a_strip_too_long_for_a_jpeg_is_read_as_it_is(tmp_path):
    strip = np.arange(2 * 131_010 * 3, dtype=np.uint8).reshape(2, 131_010, 3)
    cv2.imwrite(str(tmp_path / 'strip.png'), strip)
    np.testing.assert_array_equal(
        load(tmp_path / 'strip.png', tmp_path / 'copies', side=1)['img'], strip)
    assert not (tmp_path / 'copies').exists()


def test_a_packed_image_has_no_copy(photograph, tmp_path):
    sample = {'img_path': 'packed/a.jpg', 'img_bytes': memoryview(photograph.read_bytes())}
    image = LoadReducedImage(str(tmp_path / 'copies'), 40)(sample)['img']
    # A JPEG is decoded at half its size, which costs less.
    assert image.shape == ((151, 210, 3) if photograph.suffix == '.jpg' else (301, 420, 3))
    assert not (tmp_path / 'copies').exists()


def test_the_orientation_is_applied(tmp_path):
    path = tmp_path / 'turned.jpg'
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.full((200, 320, 3), 90, np.uint8)).save(path, exif=exif)
    for _ in range(2):
        assert load(path, tmp_path / 'copies')['img'].shape == (64, 40, 3)


def test_a_refused_copy_leaves_nothing_behind(photograph, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOSPC, 'No space left on device')
    monkeypatch.setattr('os.replace', refuse)
    with pytest.raises(InputError, match='cannot be written .No space left'):
        load(photograph, tmp_path / 'copies')
    assert not list((tmp_path / 'copies').iterdir())


def test_others_may_read_a_copy_as_any_file(photograph, tmp_path):
    load(photograph, tmp_path / 'copies')
    copy, = (tmp_path / 'copies').iterdir()
    (tmp_path / 'any').touch()
    assert copy.stat().st_mode == (tmp_path / 'any').stat().st_mode


def test_errors_name_the_file_or_the_folder(photograph, tmp_path):
    with pytest.raises(InputError, match='side=0 must be positive'):
        LoadReducedImage(str(tmp_path), 0)
    (tmp_path / 'file').touch()
    with pytest.raises(InputError, match='file: a reduced copy of an image cannot be written'):
        load(photograph, tmp_path / 'file')
    photograph.write_bytes(photograph.read_bytes()[:500])
    with pytest.raises(UnreadableImage, match=r'a photo\.\w+: unreadable image'):
        load(photograph, tmp_path / 'copies')
    assert not (tmp_path / 'copies').exists()
