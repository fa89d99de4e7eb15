"""tools/dataset_tools/paint_masks.py: from annotations to a folder that segmentation reads."""

import sys

import numpy as np
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
