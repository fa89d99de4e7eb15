"""Without mmdet or compiled operators amt_mm works, and a detection config names the fix."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.config import Config

from amt_mm.detection import stack
from amt_mm.errors import InputError

CONFIG = Path(__file__).parents[2] / 'configs/_base_/models/mask-rcnn_vitdet.py'


def test_complete():
    stack.check_detection_stack()
    assert Config.fromfile(CONFIG).model.type == 'MaskRCNN'


@pytest.mark.parametrize(('missing', 'message'), [
    ('mmdet', 'needs mmdet'), ('mmcv._ext', 'this mmcv has none')])
def test_missing(missing, message, monkeypatch):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.delitem(sys.modules, 'amt_mm.detection.stack')
    with pytest.raises(InputError, match=f'^detection .*{message}.*`make install-detection`') as e:
        Config.fromfile(CONFIG)
    assert '\n' not in str(e.value)


def test_operators_for_another_torch(monkeypatch):
    def broken(name):
        raise ImportError('_ext.so: undefined symbol: _ZN3c10\nand more')

    monkeypatch.setattr(stack, 'import_module', broken)
    with pytest.raises(InputError, match=r'another torch \(_ext.so: undefined symbol: _ZN3c10\)'):
        stack.check_detection_stack()


@pytest.mark.slow
def test_everything_else_works_without():
    """In its own process: nothing that the registries import needs either."""
    program = '''
import sys
sys.modules['mmdet'] = sys.modules['mmcv._ext'] = None
import amt_mm.registry
from mmpretrain.registry import MODELS
arch = dict(embed_dims=24, num_layers=1, num_heads=3, feedforward_channels=48)
for name in 'amt_mm.AMTMAEViT', 'amt_mm.ViTDet':
    MODELS.build(dict(type=name, arch=arch, img_size=32, patch_size=8))
'''
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', program], capture_output=True,
                          text=True, cwd=CONFIG.parents[3])
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize('name', ['with_mmdet', 'with_mmseg'])
def test_imports_say_nothing(name):
    """In its own process: the stack says what it lacks at its first import alone."""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c',
         f'import amt_mm.registry, amt_mm.detection.{name}, {name.split("_")[1]}.datasets'],
        capture_output=True, text=True, cwd=CONFIG.parents[3])
    assert (done.returncode, done.stdout) == (0, ''), done.stderr


def test_detection_is_known_to_the_registries():
    registry = importlib.import_module('amt_mm.registry')
    assert {'amt_mm.models', 'amt_mm.detection'} <= set(registry.MODELS._locations)
