"""A result belongs to the images that it was made from, wherever they lie."""

import shutil

import cv2
import numpy as np
import pytest
from mmengine.config import ConfigDict

from amt_mm.apis import image_identity as module
from amt_mm.apis.image_identity import image_identity


def identity(root, **changes):
    module._KNOWN.clear()  # as in another process
    return image_identity(ConfigDict(type='amt_mm.ImageFolder', data_root=str(root), pipeline=[],
                                     **changes))


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


def test_the_pipeline_does_not_matter(tmp_path, monkeypatch):
    cv2.imwrite(str(tmp_path / '1.png'), np.zeros((9, 7, 3), np.uint8))
    first = identity(tmp_path)
    monkeypatch.setattr(module, 'identity_of', lambda dataset: 'listed again')
    config = ConfigDict(type='amt_mm.ImageFolder', data_root=str(tmp_path),
                        pipeline=[dict(type='amt_mm.LoadImage')])
    assert image_identity(config) == first


@pytest.mark.slow
def test_images_in_memory_have_one_too():
    def scenes(**changes):
        return image_identity(ConfigDict(
            type='amt_mm.SceneDataset', pipeline=[], **{'num_samples': 3, **changes}))

    assert len({scenes(), scenes(num_samples=4), scenes(seed=1), scenes(split='test')}) == 4
