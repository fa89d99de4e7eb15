import numpy as np
import pytest
import tifffile

from amt_mm.datasets import SceneDataset
from lab import six_bands


@pytest.mark.slow
def test_bands_are_mixtures_of_the_colours_of_a_scene(tmp_path):
    six_bands.main([str(tmp_path), '--images', '12'])
    scenes = SceneDataset(12, style='plain', pipeline=[])
    files = sorted(tmp_path.rglob('*.tif'), key=lambda path: path.stem)
    assert [path.parent.name for path in files] == [
        scenes.metainfo['classes'][scenes.get_data_info(i)['gt_label']] for i in range(12)]
    bands = tifffile.imread(files[3]).astype(float)
    assert bands.shape == (6, 96, 96) and bands.min() >= 400 and bands.max() <= 3400
    colours = scenes[3]['img'].reshape(-1, 3) / 255
    for band in bands.reshape(6, -1):
        shares, *_ = np.linalg.lstsq(colours, (band - 400) / 3000, rcond=None)
        assert abs(shares.sum() - 1) < 1e-3 and (shares > -1e-3).all()
        assert np.abs(colours @ shares - (band - 400) / 3000).max() < 1e-3
