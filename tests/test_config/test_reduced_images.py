"""All pipelines of a config read large images from copies."""

import pytest
from mmengine.config import Config, ConfigDict

from amt_mm.apis.pretraining import base_config, put_recipe
from amt_mm.config.image_size import pipelines
from amt_mm.config.overlay import apply_overlay
from amt_mm.errors import InputError


def loaders(cfg):
    return [pipeline[0] for pipeline in pipelines(cfg)]


@pytest.mark.parametrize('options, side', [({}, 192), ({'overlay.image_size': 96}, 288)])
def test_copies_are_three_times_the_size_of_the_images(tmp_path, options, side):
    base = base_config(tmp_path, reduced=tmp_path / 'copies')
    cfg = put_recipe(base, 'recommended', 100, options)
    expected = dict(type='amt_mm.LoadReducedImage', folder=str(tmp_path / 'copies'), side=side)
    assert loaders(cfg) == [expected] * 3


def test_they_are_left_out_on_request(tmp_path):
    base = base_config(tmp_path, reduced=tmp_path / 'copies')
    for options in ({'overlay.reduced_images': None}, {'overlay.pixels': dict(
            channels=6, mean=[1] * 6, std=[1] * 6)}):
        kinds = {loader['type'] for loader in loaders(put_recipe(base, 'mae', 100, options))}
        assert kinds in ({'amt_mm.LoadImage'}, {'amt_mm.LoadPixels'})


def test_other_loaders_stay_and_the_size_has_a_default():
    part = [dict(type='LoadImage'), dict(type='amt_mm.CropToBox')]
    cfg = Config(dict(
        model=dict(backbone=dict()), overlay=dict(reduced_images='copies'),
        train_dataloader=dict(dataset=dict(pipeline=part)),
        test_dataloader=dict(dataset=dict(pipeline=[dict(type='amt_mm.ReadImage')]))))
    first, second = loaders(apply_overlay(cfg))
    assert first == dict(type='amt_mm.LoadReducedImage', folder='copies', side=672)
    assert second == ConfigDict(type='amt_mm.ReadImage')


def test_a_folder_is_text():
    with pytest.raises(InputError, match=r'overlay\.reduced_images=3 must be a folder'):
        apply_overlay(Config(dict(overlay=dict(reduced_images=3))))
