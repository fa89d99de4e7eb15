"""A result belongs to the images that it was made from, wherever they lie."""

import json
import shutil

import cv2
import numpy as np
import pytest
from landmark_toys import LISTS, write_landmarks
from mmengine.config import ConfigDict
from PIL import Image

from amt_mm.apis import image_identity as module
from amt_mm.apis.image_identity import identity_of, image_identity
from amt_mm.datasets import ImageFolder, PackedImages, pack


def identity(root, **changes):
    module._KNOWN.clear()  # as in another process
    return image_identity(ConfigDict({
        **dict(type='amt_mm.ImageFolder', data_root=str(root), pipeline=[]), **changes}))


@pytest.mark.slow
def test_names_and_sizes_identify_images_and_places_do_not(tmp_path):
    folder = tmp_path / 'a'
    for name in ('cat', 'dog'):
        (folder / name).mkdir(parents=True)
        cv2.imwrite(str(folder / name / '1.png'), np.zeros((9, 7, 3), np.uint8))
    first = identity(folder)
    assert identity(folder) == first
    shutil.copytree(folder, tmp_path / 'b')
    assert identity(tmp_path / 'b') == first
    found = {first}
    cv2.imwrite(str(folder / 'cat/1.png'), np.zeros((90, 7, 3), np.uint8))
    found.add(identity(folder))  # another image of the same name
    (folder / 'cat/1.png').rename(folder / 'cat/2.png')
    found.add(identity(folder))
    shutil.copy(folder / 'dog/1.png', folder / 'dog/2.png')
    found.add(identity(folder))
    assert len(found) == 4


LOAD = dict(type='amt_mm.LoadImage')


def test_what_follows_loading_does_not_matter(tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / '1.png'), np.zeros((9, 7, 3), np.uint8))
    first = identity(tmp_path, pipeline=[LOAD])
    monkeypatch.setattr(module, 'identity_of', lambda dataset: 'listed again')
    config = ConfigDict(type='amt_mm.ImageFolder', data_root=str(tmp_path),
                        pipeline=[LOAD, dict(type='PackInputs')])
    assert image_identity(config) == first


def test_frames_are_not_taken_for_their_files(tmp_path):
    page = Image.new('L', (7, 9))
    for name in ('a.tif', 'b.tif'):
        page.save(tmp_path / name, save_all=True, append_images=[page])
    files = identity(tmp_path, pipeline=[LOAD])
    frames = dict(type='amt_mm.LoadPixels', channels=1, window=(0, 255), pages='frames')
    assert identity(tmp_path, pipeline=[frames]) != files
    # In the same process, as of two protocols on one folder.
    assert image_identity(ConfigDict(type='amt_mm.ImageFolder', data_root=str(tmp_path),
                                     pipeline=[LOAD])) == files


@pytest.mark.slow
def test_corrected_labels_count_too(tmp_path):
    (tmp_path / 'val').mkdir()
    (tmp_path / 'meta').mkdir()
    for name in 'ab':
        cv2.imwrite(str(tmp_path / f'val/{name}.JPEG'), np.zeros((9, 7, 3), np.uint8))
    found = []
    for labels in ((0, 1), (0, 2), (0, 1)):
        (tmp_path / 'meta/val.txt').write_text('a.JPEG {}\nb.JPEG {}\n'.format(*labels))
        found.append(identity(tmp_path, type='amt_mm.ImageNet', split='val'))
    assert found[0] == found[2] != found[1]


def test_images_in_memory_have_one_too():
    def scenes(**changes):
        return image_identity(ConfigDict(
            type='amt_mm.SceneDataset', pipeline=[], **{'num_samples': 3, **changes}))

    assert len({scenes(), scenes(num_samples=4), scenes(seed=1), scenes(split='test')}) == 4


@pytest.mark.slow
def test_lists_beside_the_images_count_too(tmp_path):
    """Of retrieval, whose lists tell what is right, and of changed backgrounds."""
    kinds = dict(type='amt_mm.RevisitedLandmarks', split='query')
    oxford = write_landmarks(tmp_path / 'a')
    first = identity(oxford, **kinds)
    assert identity(write_landmarks(tmp_path / 'b'), **kinds) == first
    other = [{**LISTS[0], 'easy': [3], 'junk': [1, 2]}, LISTS[1]]
    assert identity(write_landmarks(tmp_path / 'c', other), **kinds) != first

    nine = tmp_path / 'in9'
    (nine / 'original/val/00_dog').mkdir(parents=True)
    cv2.imwrite(str(nine / 'original/val/00_dog/0.JPEG'), np.zeros((9, 7, 3), np.uint8))
    found = set()
    for label in (0, 1, 1):
        (nine / 'in_to_in9.json').write_text(json.dumps({'0': label, '1': -1}))
        found.add(identity(nine, type='amt_mm.BackgroundsFolder'))
    assert len(found) == 2


def test_packed_images_have_the_identity_of_their_folder(tmp_path, monkeypatch):
    """Another image of the same name is another one, and files nearby do not count."""
    (tmp_path / 'a').mkdir()
    found = []
    for side in (9, 90):
        cv2.imwrite(str(tmp_path / 'a/1.png'), np.zeros((side, 7, 3), np.uint8))
        pack(ImageFolder(str(tmp_path / 'a')), tmp_path / f'{side}.amtpack')
        found.append(identity(tmp_path / 'a'))
    monkeypatch.chdir(tmp_path / 'a')
    packed = [identity_of(PackedImages(tmp_path / f'{side}.amtpack')) for side in (9, 90)]
    assert packed == found and found[0] != found[1]
