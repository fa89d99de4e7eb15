"""GivenMaps: forms of files, what a map becomes, and what is refused."""

import warnings
import zipfile
from io import BytesIO

import cv2
import numpy as np
import pytest
from bad_files import png_header
from PIL import Image

from amt_mm.datasets.download import unpacking
from amt_mm.errors import InputError
from amt_mm.guidance import given_maps
from amt_mm.guidance.given_maps import GivenMaps

NAMES = ['a/x.jpg', 'b/c/y.png', 'z.jpeg']
GRID = (3, 5)


def arrays(shape=GRID):
    return np.random.default_rng(0).integers(0, 200, (3, *shape)).astype(np.uint8)


def written(path, form, maps=None):
    """Maps of NAMES in one of the three forms."""
    maps = arrays() if maps is None else maps
    if form == 'stack':
        np.savez(path / 'maps.npz', names=np.array(NAMES), maps=maps)
        return path / 'maps.npz'
    if form == 'one array an image':
        np.savez_compressed(path / 'maps.npz', **dict(zip(NAMES, maps, strict=True)))
        return path / 'maps.npz'
    for name, each in zip(NAMES, maps, strict=True):
        file = (path / 'grey' / name).with_suffix('.png')
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(each).save(file)
    return path / 'grey'


def by_hand(values):
    values = values.astype(np.float64)
    return ((values - values.min()) / (values.max() - values.min())).ravel()


@pytest.mark.parametrize('form', ['stack', 'one array an image', 'folder'])
def test_every_form_gives_the_map_of_each_name(tmp_path, form):
    given = GivenMaps(written(tmp_path, form))
    given.check(NAMES)
    assert given.grid == (GRID if form == 'stack' else None)
    for name, each in zip(NAMES, arrays(), strict=True):
        np.testing.assert_allclose(given.read(name, GRID), by_hand(each), atol=1e-6)


def test_arrays_and_folder_are_chosen_by_name(tmp_path):
    """The form of a file with several splits and several maps an image."""
    np.savez(tmp_path / 'maps.npz', train_names=np.array(NAMES), train_object=arrays(),
             val_names=np.array(['v.jpg']), val_object=arrays()[:1])
    given = GivenMaps(tmp_path / 'maps.npz', 'train_names', 'train_object', below='train')
    given.check([f'train/{name}' for name in NAMES])
    np.testing.assert_allclose(given.read('train/z.jpeg', GRID), by_hand(arrays()[2]), atol=1e-6)
    with pytest.raises(InputError, match='1 of 1 training images have no map: val/z.jpeg; it has'):
        given.check(['val/z.jpeg'])


@pytest.mark.parametrize('values', [
    np.array([[True, False, False]]), np.array([[-3, 7, 2]]), np.array([[-.5, .25, 1e30]]),
    np.array([[-9., 2., 1.]], np.float16), np.array([[0, 2**16 - 1, 9]], np.uint16)],
    ids=lambda values: str(values.dtype))
def test_values_of_any_type_and_range_are_scaled_to_0_and_1(tmp_path, values):
    np.savez(tmp_path / 'maps.npz', x=values)
    found = GivenMaps(tmp_path / 'maps.npz').read('x', (1, 3))
    np.testing.assert_allclose(found, by_hand(values), atol=1e-6)


def test_a_constant_map_is_no_preference(tmp_path):
    np.savez(tmp_path / 'maps.npz', x=np.full((2, 3), 7.))
    for grid in ((2, 3), (4, 4)):
        assert not GivenMaps(tmp_path / 'maps.npz').read('x', grid).any()


@pytest.mark.parametrize('grid', [(3, 5), (4, 7)])
def test_another_grid_gets_the_mean_over_each_cell(tmp_path, grid):
    """By many points of the bilinear map in each cell, as an image is enlarged."""
    values = np.random.default_rng(1).normal(size=(11, 8)).astype(np.float32)
    np.savez(tmp_path / 'maps.npz', x=values)
    fine = 60
    large = cv2.resize(values, (grid[1] * fine, grid[0] * fine), interpolation=cv2.INTER_LINEAR)
    mean = large.reshape(grid[0], fine, grid[1], fine).mean(axis=(1, 3))
    found = GivenMaps(tmp_path / 'maps.npz').read('x', grid)
    np.testing.assert_allclose(found, by_hand(mean), atol=2e-3)


def test_grey_files_of_16_bits_keep_them(tmp_path):
    values = np.array([[0, 256, 65535], [1, 2, 40000]], np.uint16)
    cv2.imwrite(str(tmp_path / 'x.png'), values)
    np.testing.assert_allclose(GivenMaps(tmp_path).read('x.jpg', (2, 3)), by_hand(values),
                               atol=1e-6)


def test_images_without_a_map_are_named(tmp_path):
    given = GivenMaps(written(tmp_path, 'folder'))
    wanted = [*NAMES, *(f'{i}.jpg' for i in range(8))]
    with pytest.raises(InputError, match='grey: 8 of 11 training images have no map: 0.jpg, 1.jpg, '
                       '2.jpg, 3.jpg, 4.jpg and 3 others; set `below`'):
        given.check(wanted)


def test_two_images_do_not_share_a_map(tmp_path):
    given = GivenMaps(written(tmp_path, 'folder'))
    with pytest.raises(InputError, match='a/x.jpg and a/x.webp would both use the map a/x.png'):
        given.check([*NAMES, 'a/x.webp'])
    given.check([*NAMES, 'a/x.jpg'])  # an image that stands twice in a data set


def test_a_name_stands_once(tmp_path):
    np.savez(tmp_path / 'maps.npz', names=np.array(['a', 'b', 'b']), maps=arrays())
    with pytest.raises(InputError, match='2 maps are named b'):
        GivenMaps(tmp_path / 'maps.npz')
    buffer = BytesIO()
    np.save(buffer, np.ones((2, 2)))
    with zipfile.ZipFile(tmp_path / 'twice.npz', 'w') as archive, warnings.catch_warnings():
        warnings.simplefilter('ignore')
        for _ in range(2):
            archive.writestr('a.npy', buffer.getvalue())
    with pytest.raises(InputError, match='2 maps are named a'):
        GivenMaps(tmp_path / 'twice.npz')


@pytest.mark.parametrize(('content', 'message'), [
    (dict(names=np.array(['a', 'b'])), "array 'names', but no array 'maps'; it has names"),
    (dict(names=np.array(['a']), maps=np.ones((1, 3))), r'maps is an array \(1, 3\); with 1 names'),
    (dict(names=np.array(['a']), maps=np.ones((2, 3, 3))), r'must be \(1, rows, columns\)'),
    (dict(names=np.array(['a']), maps=np.ones((1, 0, 3))), 'must be'),
    (dict(names=np.arange(2), maps=np.ones((2, 3, 3))), 'names must be a list of text'),
    (dict(names=np.array(['a'], object), maps=np.ones((1, 3, 3))), 'names cannot be read')])
def test_arrays_that_do_not_fit_are_refused(tmp_path, content, message):
    np.savez(tmp_path / 'maps.npz', **content)
    with pytest.raises(InputError, match=message):
        GivenMaps(tmp_path / 'maps.npz')


@pytest.mark.parametrize(('values', 'message'), [
    (np.ones((2, 2, 3)), '2 x 2 x 3 of float64'), (np.array(['x']), 'of <U1'),
    (np.ones((0, 4)), '0 x 4'), (np.ones((2, 2), complex), 'complex'), (np.float32(3), r'\(\)'),
    (np.array([[1., np.nan]]), 'not finite'), (np.array([[1., np.inf]]), 'not finite'),
    (np.array([[1., 1e300]]), 'not finite')])
def test_values_that_are_no_map_are_refused(tmp_path, values, message):
    np.savez(tmp_path / 'maps.npz', x=values)
    with pytest.raises(InputError, match=f'maps.npz: the map of x .*{message}'), \
            np.errstate(over='ignore'):
        GivenMaps(tmp_path / 'maps.npz').read('x', GRID)


def test_coloured_empty_and_broken_pictures_are_refused(tmp_path):
    Image.new('RGB', (4, 3)).save(tmp_path / 'colour.png')
    (tmp_path / 'empty.png').touch()
    (tmp_path / 'text.png').write_text('none')
    given = GivenMaps(tmp_path)
    with pytest.raises(InputError, match='the map of colour.jpg is an array 3 x 4 x 3'):
        given.read('colour.jpg', GRID)
    for name in ('empty', 'text'):
        with pytest.raises(InputError, match=f'{name}.png: not a PNG file'):
            given.read(f'{name}.jpg', GRID)


def test_a_picture_of_a_billion_pixels_is_not_decoded(tmp_path, monkeypatch):
    (tmp_path / 'bomb.png').write_bytes(png_header(30000, 30000))
    decoded = []
    monkeypatch.setattr(cv2, 'imdecode', lambda *_: decoded.append(1))
    with pytest.raises(InputError, match='bomb.png: not a PNG file'):
        GivenMaps(tmp_path).read('bomb.jpg', GRID)
    assert not decoded


def test_files_of_other_kinds_are_refused(tmp_path):
    np.save(tmp_path / 'one.npy', np.ones((2, 2)))
    np.save(tmp_path / 'code.npy', np.array([print], object))
    (tmp_path / 'text.npz').write_text('maps')
    (tmp_path / 'empty.npz').touch()
    whole = written(tmp_path, 'one array an image').read_bytes()
    (tmp_path / 'short.npz').write_bytes(whole[:len(whole) // 2])
    for name, message in (('none.npz', 'No such file'), ('one.npy', 'one array without names'),
                          ('text.npz', 'not an .npz file'), ('code.npy', 'not an .npz file'),
                          ('empty.npz', 'not an .npz file'),
                          ('short.npz', 'not an .npz file')):
        with pytest.raises(InputError, match=f'{name}: {message}'):
            GivenMaps(tmp_path / name)
    damaged = bytearray(whole)
    damaged[90] ^= 255
    (tmp_path / 'damaged.npz').write_bytes(damaged)
    with pytest.raises(InputError, match='a/x.jpg cannot be read'):
        GivenMaps(tmp_path / 'damaged.npz').read('a/x.jpg', GRID)
    # Python's tokenizer fails on it.
    deep = b'\x93NUMPY\x01\x00' + (9000).to_bytes(2, 'little') + b'(' * 9000
    (tmp_path / 'deep.npy').write_bytes(deep)
    with pytest.raises(InputError, match='deep.npy: not an .npz file'):
        GivenMaps(tmp_path / 'deep.npy')
    with zipfile.ZipFile(tmp_path / 'deep.npz', 'w') as archive:
        archive.writestr('x.npy', deep)
    with pytest.raises(InputError, match='x cannot be read'):
        GivenMaps(tmp_path / 'deep.npz').read('x', GRID)
    with zipfile.ZipFile(tmp_path / 'text.npz', 'w') as archive:
        archive.writestr('a', 'text')
    with pytest.raises(InputError, match=r'a cannot be read \(not an array\)'):
        GivenMaps(tmp_path / 'text.npz').read('a', GRID)


def test_an_array_of_no_memory_is_refused(tmp_path):
    """Only its header is there."""
    with zipfile.ZipFile(tmp_path / 'a.npz', 'w') as archive, archive.open('a.npy', 'w') as file:
        np.lib.format.write_array_header_1_0(
            file, dict(descr='<f8', fortran_order=False, shape=(2**50, 2**6)))
    with pytest.raises(InputError, match='a cannot be read'):
        GivenMaps(tmp_path / 'a.npz').read('a', GRID)


def test_an_archive_that_unpacks_to_gigabytes_is_refused_before(tmp_path, monkeypatch):
    monkeypatch.setattr(given_maps, '_FEW_BYTES', 10**6)
    monkeypatch.setattr(unpacking, '_SMALL', 0)
    maps = {str(i): np.zeros((400, 400), np.uint8) for i in range(7)}
    np.savez_compressed(tmp_path / 'few.npz', **dict([*maps.items()][:6]))
    np.savez_compressed(tmp_path / 'bomb.npz', **maps)
    np.savez(tmp_path / 'plain.npz', **maps)
    assert not GivenMaps(tmp_path / 'few.npz').read('5', GRID).any()
    assert not GivenMaps(tmp_path / 'plain.npz').read('6', GRID).any()
    monkeypatch.setattr(np.lib.npyio.NpzFile, '__getitem__', lambda *_: pytest.fail('unpacked'))
    with pytest.raises(InputError, match='bomb.npz: unpacks to 0.0 GB, more than 100 times'):
        GivenMaps(tmp_path / 'bomb.npz')


def test_a_map_of_more_pixels_than_any_image_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    np.savez(tmp_path / 'maps.npz', **{'x.jpg': np.ones((20, 11))})
    with pytest.raises(InputError, match='maps.npz: the map of x.jpg: .* 11 x 20 pixels'):
        GivenMaps(tmp_path / 'maps.npz').read('x.jpg', GRID)
