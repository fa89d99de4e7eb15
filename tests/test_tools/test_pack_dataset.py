"""pack_dataset: folder and config in, one file out, nothing overwritten by accident."""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from load_script import load_script
from PIL import Image

from amt_mm.datasets import ImageFolder, PackedImages, dataset_fingerprint

TOOL = Path(__file__).parents[2] / 'tools/dataset_tools/pack_dataset.py'


@pytest.fixture
def folder(tmp_path):
    for i in range(3):
        Image.new('RGB', (30 + i, 20)).save(tmp_path / f'{i}.jpg')
    return tmp_path


@pytest.fixture
def run(monkeypatch, capsys):
    tool = load_script(TOOL)

    def call(*arguments):
        """Exit status and what was printed."""
        monkeypatch.setattr(sys, 'argv', [str(TOOL), *map(str, arguments)])
        try:
            tool.main()
        except SystemExit as end:
            return end.code, capsys.readouterr().err
        return 0, capsys.readouterr().out

    return call


@pytest.mark.slow
def test_folder_and_config(run, folder):
    source = dataset_fingerprint(ImageFolder(str(folder)))
    out, config = folder / 'out' / 'a.amtpack', folder / 'config.py'
    status, text = run(folder, out)
    assert status == 0 and '3 images' in text
    assert dataset_fingerprint(PackedImages(str(out))) == source
    status, text = run(folder, out)
    assert status == 2 and '--force' in text
    config.write_text(f'train_dataloader = dict(dataset=dict(type="amt_mm.ImageFolder", '
                      f'data_root={str(folder)!r}, pipeline=[dict(type="amt_mm.LoadImage")]))')
    assert run(out, '--config', config, '--force')[0] == 0
    assert dataset_fingerprint(PackedImages(str(out))) == source


def test_frames_as_the_overlay_says(run, tmp_path):
    stack = np.arange(3 * 20 * 30, dtype=np.uint8).reshape(3, 20, 30)
    (tmp_path / 'images').mkdir()
    tifffile.imwrite(tmp_path / 'images/a.tif', stack, photometric='minisblack')
    (tmp_path / 'config.py').write_text(
        f'train_dataloader = dict(dataset=dict(type="amt_mm.ImageFolder", '
        f'data_root={str(tmp_path / "images")!r}, pipeline=[dict(type="amt_mm.LoadImage")]))\n'
        'model = dict(backbone=dict())\n'
        'overlay = dict(pixels=dict(channels=1, pages="frames", mean=[0], std=[1]))\n')
    status, text = run(tmp_path / 'a.amtpack', '--config', tmp_path / 'config.py')
    assert status == 0 and '3 images' in text
    packed = PackedImages(str(tmp_path / 'a.amtpack'))
    for index, frame in enumerate(stack):
        info = packed.get_data_info(index)
        assert info['img_path'] == f'a.tif#{index}'
        assert np.array_equal(np.load(io.BytesIO(info['img_bytes']))[..., 0], frame)


def test_one_source(run, folder):
    assert run(folder / 'a.amtpack')[0] == 2
    assert run(folder, folder / 'a.amtpack', '--config', 'x.py')[0] == 2


def test_splits_are_not_put_into_one_file(run, tmp_path):
    for split in ('train', 'val', 'test'):
        for name in ('cat', 'dog'):
            (tmp_path / 'images' / split / name).mkdir(parents=True)
            Image.new('RGB', (30, 20)).save(tmp_path / 'images' / split / name / '0.jpg')
    out = tmp_path / 'a.amtpack'
    status, text = run(tmp_path / 'images', out)
    assert status == 2 and 'has the splits test, train, val, and' in text and not out.exists()
    status, text = run(tmp_path / 'images/test', out)
    assert status == 0 and '2 images' in text
    packed = PackedImages(str(out))
    assert packed.metainfo['classes'] == ('cat', 'dog')
    assert [packed.get_data_info(i)['gt_label'] for i in range(2)] == [0, 1]


def test_a_folder_that_is_not_there(run, folder):
    status, text = run(folder / 'none', folder / 'a.amtpack')
    assert status == 2 and 'none' in text
