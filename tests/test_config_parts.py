"""config_parts: names of classes, and where the generator of the masks stands."""

import pytest
from mmengine.config import ConfigDict
from mmengine.hooks import CheckpointHook

from amt_mm.config_parts import class_name, mask_config

AMT = dict(type='amt_mm.AMTMaskGenerator', mask_ratio=.5)


@pytest.mark.parametrize(('part', 'name'), [
    (dict(type='amt_mm.AMTMAE'), 'AMTMAE'), (ConfigDict(type='MAE'), 'MAE'),
    (dict(type='mmpretrain.models.MAE'), 'MAE'), (dict(type=CheckpointHook), 'CheckpointHook'),
    (CheckpointHook(), 'CheckpointHook'), (dict(interval=1), '')])
def test_class_name(part, name):
    assert class_name(part) == name


@pytest.mark.parametrize(('config', 'wanted'), [
    ({}, {}), (dict(model=None, data_preprocessor=None), {}), (dict(model='MAE'), {}),
    (dict(model=dict(type='MAE')), {}),
    (dict(data_preprocessor=dict(mask_generator=AMT)), AMT),
    (dict(model=dict(data_preprocessor=dict(mask_generator=AMT)), data_preprocessor={}), AMT),
    # As MMEngine: what the model says goes before what stands at the top.
    (dict(model=dict(data_preprocessor=dict(mask_generator=AMT)),
          data_preprocessor=dict(mask_generator=dict(type='Other'))), AMT),
    (dict(model=dict(type='IBOT', masking=dict(strategy='high'))), dict(strategy='high')),
    (dict(model=dict(type='IBOT', masking='high')), {})])
def test_mask_config(config, wanted):
    assert mask_config(config) == wanted
