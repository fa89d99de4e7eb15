"""tools/detect.py, mmdet's DetInferencer and a converted detector, on tiny images."""

import json
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import INITIALIZE_FIG
from load_script import load_script
from mmengine.config import Config
from mmengine.registry import DefaultScope, init_default_scope
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.visualization import Visualizer
from PIL import Image
from pycocotools import mask as rle

import amt_mm.registry  # noqa: F401
from amt_mm.errors import InputError

ROOT = Path(__file__).parents[2]
MINI = ROOT / 'configs/mmdet/mini/mask-rcnn_vitdet-mini-p8_256px_1xb4-1k_coco.py'
TOY = """
_base_ = {base!r}
model = dict(
    data_preprocessor=dict(pad_size_divisor=64),
    backbone=dict(img_size=64, arch=dict(
        embed_dims=24, num_layers=2, num_heads=3, feedforward_channels=48)),
    neck=dict(in_channels=24, out_channels=16),
    rpn_head=dict(in_channels=16, feat_channels=16),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=16),
        bbox_head=dict(in_channels=16, conv_out_channels=16, fc_out_channels=16, num_classes=3),
        mask_roi_extractor=dict(out_channels=16),
        mask_head=dict(in_channels=16, conv_out_channels=16, num_classes=3)),
    test_cfg=dict(rpn=dict(max_per_img=20), rcnn=dict(score_thr=0., max_per_img=5)))
test_pipeline = [
    dict(type='amt_mm.LoadImageFromFile'),
    dict(type='Resize', scale=(64, 64), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(
        type='PackDetInputs',
        meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
]
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
"""


class Harmful:
    def __reduce__(self):
        return os.system, ('touch harmed', )


@pytest.fixture(autouse=True)
def mmdet_scope(monkeypatch):
    monkeypatch.setattr(Visualizer, '_initialize_fig', INITIALIZE_FIG)
    before = DefaultScope.get_current_instance()
    init_default_scope('mmdet')
    yield
    init_default_scope(before.scope_name)


@pytest.fixture
def toy(tmp_path):
    """A config and a checkpoint of random weights, trained on cats, dogs and emus."""
    from mmdet.registry import MODELS
    config = tmp_path / 'toy.py'
    config.write_text(TOY.format(base=str(MINI)))
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(config).model)
    model.init_weights()
    torch.save(dict(meta=dict(dataset_meta=dict(classes=('cat', 'dog', 'emu'))),
                    state_dict=model.state_dict()), tmp_path / 'toy.pth')
    return config, tmp_path / 'toy.pth'


@pytest.fixture
def photographs(tmp_path):
    """Images of two sizes, two of one name, one of two pages, and a file that is none."""
    chance = np.random.RandomState(0)
    for name, size in (('a.png', (40, 60)), ('more/a.png', (70, 50))):
        path = tmp_path / 'photographs' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), chance.randint(0, 255, (*size, 3), np.uint8))
    (tmp_path / 'photographs/b.jpg').write_bytes(b'no image')
    page = Image.new('L', (30, 20))
    page.save(tmp_path / 'photographs/c.tif', save_all=True, append_images=[page])
    return tmp_path / 'photographs'


def run(*arguments):
    load_script(ROOT / 'tools/detect.py').main([str(argument) for argument in arguments])


@pytest.mark.slow
def test_pictures_and_a_list_of_objects(toy, photographs, tmp_path, capsys):
    out = tmp_path / 'out'
    run(*toy, photographs, '--out', out, '--threshold', '0')
    said = capsys.readouterr()
    found = json.loads((out / 'detections.json').read_text())
    assert f'{out}: {len(found)} objects in 2 images (2 left out)' in said.out
    assert 'b.jpg: unreadable image' in said.err and 'c.tif: has 2 pages' in said.err
    assert {entry['image'] for entry in found} == {'a.png', 'more/a.png'}
    assert {entry['category'] for entry in found} <= {'cat', 'dog', 'emu'}
    for entry in found:
        size = cv2.imread(str(photographs / entry['image'])).shape[:2]
        assert rle.decode(entry['segmentation']).shape == size
        x, y, width, height = entry['bbox']
        assert -.01 <= x <= x + width <= size[1] + .01 and -.01 <= y <= y + height <= size[0] + .01
    for name in ('a.png', 'more/a.png'):
        picture = cv2.imread(str(out / f'{name}.jpg'))
        image = cv2.imread(str(photographs / name))
        assert picture.shape == image.shape
        assert np.abs(picture.astype(int) - image).mean() > 3  # something is drawn

    highest = max(entry['score'] for entry in found)
    with pytest.raises(SystemExit):
        run(*toy, photographs, '--out', out)
    assert '--force replaces it' in capsys.readouterr().err
    run(*toy, photographs, '--out', out, '--threshold', highest + .01, '--force')
    assert json.loads((out / 'detections.json').read_text()) == []


def test_objects_are_those_of_the_inferencer_of_mmdet(toy, photographs, tmp_path):
    """Which takes the config as it is."""
    from mmdet.apis import DetInferencer
    run(*toy, photographs, '--out', tmp_path / 'out', '--threshold', '0')
    ours = [entry for entry in json.loads((tmp_path / 'out/detections.json').read_text())
            if entry['image'] == 'more/a.png']
    inferencer = DetInferencer(str(toy[0]), str(toy[1]), device='cpu', show_progress=False)
    result = inferencer(str(photographs / 'more/a.png'), out_dir=str(tmp_path / 'mmdet'),
                        no_save_pred=False, pred_score_thr=0)
    theirs, = result['predictions']
    assert len(ours) == len(theirs['scores']) > 0
    np.testing.assert_allclose([entry['score'] for entry in ours], theirs['scores'], atol=1e-4)
    assert [entry['category'] for entry in ours] == [
        ('cat', 'dog', 'emu')[label] for label in theirs['labels']]
    for entry, (x1, y1, x2, y2), mask in zip(ours, theirs['bboxes'], theirs['masks'], strict=True):
        np.testing.assert_allclose(entry['bbox'], [x1, y1, x2 - x1, y2 - y1], rtol=1e-4, atol=1e-3)
        np.testing.assert_array_equal(rle.decode(entry['segmentation']), rle.decode(mask))
    assert (tmp_path / 'mmdet/vis/a.png').is_file()


@pytest.mark.parametrize('config', sorted((ROOT / 'configs/mmdet').rglob('*.py')),
                         ids=lambda path: path.stem)
def test_the_inferencer_finds_its_way_through_every_test_pipeline(config, monkeypatch):
    from mmdet.apis import DetInferencer
    cfg = Config.fromfile(config)
    inferencer = DetInferencer.__new__(DetInferencer)
    pipeline = inferencer._init_pipeline(cfg)
    image = np.zeros((30, 40, 3), np.uint8)
    inputs = pipeline(image)['inputs']
    assert max(inputs.shape) == cfg.model.backbone.img_size


def test_the_inferencer_runs_no_code_of_a_checkpoint(toy, tmp_path, monkeypatch):
    from mmdet.apis import DetInferencer
    monkeypatch.chdir(tmp_path)
    torch.save(dict(torch.load(toy[1]), more=Harmful()), toy[1])
    # As in a process of the user's own, where our engine is not imported.
    monkeypatch.setattr(mmengine_checkpoint, '_safe_torch_load', torch.load)
    monkeypatch.delitem(sys.modules, 'amt_mm.detection.with_mmdet', raising=False)
    with pytest.raises(InputError, match='code from a file is not run'):
        DetInferencer(str(toy[0]), str(toy[1]), device='cpu')
    assert not (tmp_path / 'harmed').exists()


def test_without_names_classes_are_numbers(toy, photographs, tmp_path):
    content = torch.load(toy[1])
    torch.save(content['state_dict'], toy[1])
    run(*toy, photographs, '--out', tmp_path / 'out', '--threshold', '0')
    found = json.loads((tmp_path / 'out/detections.json').read_text())
    assert {entry['category'] for entry in found} <= {'0', '1', '2'}


@pytest.mark.parametrize(('change', 'message'), [
    (lambda content: content['state_dict'].pop('rpn_head.rpn_cls.bias'),
     'lacks 1 entries of the detector such as rpn_head.rpn_cls.bias'),
    (lambda content: content['meta']['dataset_meta'].update(classes=['a', 'b']),
     'was trained on 2 classes, and the heads of the config have 3')])
def test_a_checkpoint_that_does_not_fit_is_refused(toy, photographs, tmp_path, change, message,
                                                   capsys):
    content = torch.load(toy[1])
    change(content)
    torch.save(content, toy[1])
    with pytest.raises(SystemExit) as stop:
        run(*toy, photographs, '--out', tmp_path / 'out')
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_a_config_of_no_detector_is_refused(toy, photographs, tmp_path, capsys):
    config = ROOT / 'configs/benchmarks/knn/vit-base-p16_knn_folder.py'
    with pytest.raises(SystemExit):
        run(config, toy[1], photographs, '--out', tmp_path / 'out')
    assert 'has no model.roi_head' in capsys.readouterr().err
