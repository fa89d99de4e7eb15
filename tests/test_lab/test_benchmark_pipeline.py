"""benchmark_pipeline: the JPEGs it makes, that all pipelines run, and the sums."""

from pathlib import Path

import numpy as np
import pytest
from load_script import load_script
from PIL import Image

from amt_mm.datasets import ImageFolder, pack
from amt_mm.errors import InputError

TOOL = Path(__file__).parents[2] / 'lab/benchmark_pipeline.py'


@pytest.fixture(scope='module')
def tool():
    return load_script(TOOL)


@pytest.fixture
def folder(tool, tmp_path):
    chance = np.random.RandomState(0)
    (tmp_path / 'photos').mkdir()
    for i, shape in enumerate([(40, 50, 3), (70, 30, 3)]):
        Image.fromarray(chance.randint(0, 256, shape, np.uint8)).save(tmp_path / f'photos/{i}.png')
    (tmp_path / 'jpegs').mkdir()
    mean = tool.make_jpegs(str(tmp_path / 'photos'), tmp_path / 'jpegs', 2, (64, 48), 2000)
    sizes = [path.stat().st_size for path in (tmp_path / 'jpegs').iterdir()]
    assert sizes == pytest.approx([2000, 2000], rel=.05) and np.mean(sizes) == mean
    return tmp_path / 'jpegs'


@pytest.mark.slow
def test_every_pipeline_runs(tool, folder, tmp_path):
    assert all(Image.open(path).size == (64, 48) for path in folder.iterdir())
    pack(ImageFolder(str(folder)), tmp_path / 'a.amtpack')
    makers = tool.contestants(folder, tmp_path / 'a.amtpack')
    for name, (make, crops) in makers.items():
        batch = make()
        inputs = batch['inputs'] if isinstance(batch, dict) else batch
        if 'alone' not in name:
            assert inputs.shape == (2 * crops, 3, 224, 224)
    rows = tool.parts(folder, 2, 1)
    assert {row['pipeline'] for row in rows} == {tool.STOCK, 'fast'}
    assert all(row['us'] >= 0 for row in rows)


def test_medians_and_ratios(tool, monkeypatch):
    clock = iter([9, 9, 8, 2, 4, 2, 8, 4])
    monkeypatch.setattr(tool, 'seconds', lambda work: next(clock))
    rows = tool.race({'a': (None, 1), 'b': (None, 2)}, images=2, rounds=3)
    assert [row['images'] for row in rows] == pytest.approx([1 / 4, 2])
    assert [row['ratio'] for row in rows] == pytest.approx([1, 4])


def test_too_few_images(tool, tmp_path):
    Image.new('RGB', (9, 9)).save(tmp_path / 'a.png')
    with pytest.raises(InputError, match='--images 1'):
        tool.make_jpegs(str(tmp_path), tmp_path, 2, (8, 8), 1)
