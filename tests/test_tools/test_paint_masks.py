"""tools/dataset_tools/paint_masks.py: from annotations to a folder that segmentation reads."""

import sys

import numpy as np
import pytest
from detection_toys import OBJECTS, SIZES, toy_content, write_content
from load_script import load_script
from PIL import Image

from amt_mm.datasets import SegmentationFolder
from amt_mm.shipped import tools_folder


def test_every_image_gets_its_mask(tmp_path, monkeypatch, capsys):
    annotations = write_content(tmp_path, toy_content())
    tool = load_script(tools_folder() / 'dataset_tools/paint_masks.py')
    out = tmp_path / 'masked/train'
    monkeypatch.setattr(sys, 'argv', ['', str(annotations), str(tmp_path / 'train2017'), str(out)])
    for _ in range(2):  # the second time over the first
        tool.main()
    assert '4 masks. 0 background, 1 cat, 2 dog, 3 emu\n' in capsys.readouterr().out
    dataset = SegmentationFolder(str(out))
    assert len(dataset) == 4
    for i, (width, height) in enumerate(SIZES):
        wanted = np.zeros((height, width), int)
        for image, label, x, y, w, h in OBJECTS:
            if image == i:
                wanted[y:y + h, x:x + w] = label + 1
        info = dataset.get_data_info(i)
        assert info['img_path'].endswith(f'{i}.png')
        np.testing.assert_array_equal(np.asarray(Image.open(info['seg_map_path'])), wanted)


@pytest.fixture
def paint(tmp_path, monkeypatch):
    """The factory ``paint(names)`` of masks of images of these names."""
    tool = load_script(tools_folder() / 'dataset_tools/paint_masks.py')

    def make(*names, images='train2017'):
        content = toy_content()
        for image, name in zip(content['images'], names, strict=False):
            image['file_name'] = name
        for folder in ('train2017/a', 'train2017/b', 'other'):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        annotations = write_content(tmp_path, content)
        monkeypatch.setattr(sys, 'argv', [
            '', str(annotations), str(tmp_path / images), str(tmp_path / 'masked/train')])
        tool.main()

    return make


def test_masks_of_subfolders_are_in_subfolders(paint, tmp_path):
    paint('a/1.png', 'b/1.png')
    found = [Image.open(tmp_path / f'masked/train/masks/{name}/1.png').size for name in 'ab']
    assert found == list(SIZES[:2])
    assert len(SegmentationFolder(str(tmp_path / 'masked/train'))) == 4


@pytest.mark.parametrize(('names', 'message'), [
    (['a/1.png', 'a/1.jpg'], '2 of its images would have the mask a/1.png'),
    (['../train2017/a/1.png'], "the image '../train2017/a/1.png' is not in the folder of images")])
def test_names_that_are_none_of_the_folder_are_refused(paint, tmp_path, capsys, names, message):
    with pytest.raises(SystemExit, match='2'):
        paint(*names)
    assert message in capsys.readouterr().err and not (tmp_path / 'masked').exists()


def test_masks_do_not_join_the_images_of_another_folder(paint, tmp_path, capsys):
    paint()
    for i in range(4):
        (tmp_path / f'other/{i}.png').write_bytes((tmp_path / f'train2017/{i}.png').read_bytes())
    with pytest.raises(SystemExit, match='2'):
        paint(images='other')
    assert 'masked/train/images is not ' in capsys.readouterr().err
