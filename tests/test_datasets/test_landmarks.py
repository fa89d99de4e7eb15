"""RevisitedLandmarks: folders as published, queries cropped, faults in one line."""

import pickle

import numpy as np
import pytest
from landmark_toys import write_landmarks

from amt_mm.datasets import CropToBox, RevisitedLandmarks
from amt_mm.errors import InputError


@pytest.fixture
def root(tmp_path):
    return write_landmarks(tmp_path)


def change(root, **changes):
    path = root / 'gnd_roxford5k.pkl'
    path.write_bytes(pickle.dumps({**pickle.loads(path.read_bytes()), **changes}))


@pytest.mark.parametrize('protocol', [0, 2, 4])
def test_the_published_format_is_read(root, protocol):
    """Lists as arrays or lists, pickled by Python 2 or 3."""
    path = root / 'gnd_roxford5k.pkl'
    content = pickle.loads(path.read_bytes())
    content['gnd'][1] = {name: np.array(value) for name, value in content['gnd'][1].items()}
    path.write_bytes(pickle.dumps(content, protocol))
    database, queries = (RevisitedLandmarks(data_root=str(root), split=split)
                         for split in ('database', 'query'))
    assert (len(database), len(queries)) == (5, 2)
    assert database.get_data_info(3)['img_path'] == str(root / 'jpg' / 'base_3.jpg')
    info = queries.get_data_info(1)
    assert info['img_path'] == str(root / 'jpg' / 'query_1.jpg')
    assert (info['easy'], info['hard'], info['junk']) == ([4], [], [0, 2])
    assert 'easy' not in database.get_data_info(0)


def test_a_query_is_cropped_to_its_box():
    image = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)
    found = CropToBox()(dict(img=image, bbx=[1.6, -.7, 5.4, 99], img_path='a.jpg'))
    np.testing.assert_array_equal(found['img'], image[0:6, 2:5])
    assert found['img_shape'] == (6, 3)
    assert CropToBox()(dict(img=image))['img'] is image
    with pytest.raises(InputError, match='a.jpg: the box .9, 1, 11, 3. .* lies outside the image'):
        CropToBox()(dict(img=image, bbx=[9, 1, 11, 3], img_path='a.jpg'))


def test_faults_are_one_line(root, tmp_path):
    gnd = pickle.loads((root / 'gnd_roxford5k.pkl').read_bytes())['gnd']
    for changes, message in (
            (dict(qimlist=['query_0']), '2 entries in gnd for 1 queries'),
            (dict(imlist=[]), 'must be names of images'),
            (dict(qimlist=['../../query_0', 'query_1']), 'must be names of images in jpg/, with'),
            (dict(imlist=['/base_0']), 'must be names of images in jpg/, without folders'),
            (dict(gnd=[gnd[0], {**gnd[1], 'junk': [5]}]), 'query_1: its lists .* 0 to 4'),
            (dict(gnd=[gnd[0], {**gnd[1], 'junk': [4]}]), 'query_1: its lists must be different'),
            (dict(gnd=[gnd[0], {**gnd[1], 'bbx': [1, 2]}]), 'query_1: bbx must be four numbers'),
            (dict(gnd=[gnd[0], {**gnd[1], 'bbx': [0, 0, float('nan'), 9]}]), 'are not finite'),
            (dict(gnd=[{**gnd[0], 'bbx': [0, 0, 1e400, 9]}, gnd[1]]), 'query_0: bbx has numbers'),
            (dict(qimlist=3), 'needs the lists imlist, qimlist and gnd'),
            (dict(gnd=None), 'needs the lists imlist, qimlist and gnd'),
            (dict(gnd=[dict(ok=[1], bbx=[]), gnd[1]]), 'query_0: needs bbx, easy, hard, junk;'),
            (dict(gnd=gnd, imlist=['base_9', 'x']), 'base_9.jpg: does not exist .2 of 2')):
        before = (root / 'gnd_roxford5k.pkl').read_bytes()
        if 'base_9' in changes.get('imlist', []):
            changes['gnd'] = [{**each, 'easy': [], 'hard': [], 'junk': []} for each in gnd]
        change(root, **changes)
        with pytest.raises(InputError, match=message):
            RevisitedLandmarks(data_root=str(root))
        (root / 'gnd_roxford5k.pkl').write_bytes(before)
    with pytest.raises(InputError, match='has 0 files gnd_.*, and one is needed'):
        RevisitedLandmarks(data_root=str(tmp_path / 'jpg'))
    with pytest.raises(InputError, match="split='test' is unknown; use one of 'database', 'query'"):
        RevisitedLandmarks(data_root=str(root), split='test')


def test_a_pickle_that_names_code_is_refused(root):
    (root / 'gnd_roxford5k.pkl').write_bytes(pickle.dumps(dict(gnd=print)))
    with pytest.raises(InputError, match='code from a file is not run'):
        RevisitedLandmarks(data_root=str(root))
