"""Box and mask AP: lvis against pycocotools where they must agree, and where LVIS differs."""

import json

import numpy as np
import pytest
import torch
from detection_toys import CLASSES, disc, write_content
from mmengine.registry import DefaultScope, init_default_scope
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import amt_mm.registry  # noqa: F401
from amt_mm.errors import InputError
from amt_mm.registry import METRICS

# isort: split
import lvis

import amt_mm.detection.with_mmdet  # noqa: F401
from amt_mm.detection.lvis_eval import LVISEval

IDS = [1, 4, 7]
# Side of the images; objects are small, medium and large as COCO defines it.
SIDE = 200


@pytest.fixture(autouse=True)
def mmdet_scope():
    before = DefaultScope.get_current_instance()
    init_default_scope('mmdet')
    yield
    init_default_scope(before.scope_name)


def ellipse(box):
    return disc(*box, (SIDE, SIDE))


def random_box(chance):
    size = chance.choice([20, 60, 130])
    w, h = chance.randint(size // 2, size, 2)
    return [int(chance.randint(0, SIDE - w)), int(chance.randint(0, SIDE - h)), int(w), int(h)]


@pytest.fixture(scope='module')
def problem(tmp_path_factory):
    """Ground truth in LVIS format with every class annotated in every image, and detections."""
    chance = np.random.RandomState(1)
    images, annotations, detections = [], [], []
    for i in range(6):
        present = set()
        found = []
        for _ in range(5):
            box, label = random_box(chance), int(chance.choice(3, p=[.2, .5, .3]))
            mask = ellipse(box)
            present.add(label)
            annotations.append(dict(id=len(annotations) + 1, image_id=i + 1, iscrowd=0,
                                    area=int(rle.area(mask)),
                                    category_id=IDS[label], bbox=box, segmentation=mask))
            # Detected more or less precisely, sometimes twice or as another class.
            for _ in range(chance.randint(0, 3)):
                moved = np.clip(np.array(box) + chance.randint(-6, 7, 4), 1, SIDE - 1).tolist()
                found.append((moved, label if chance.rand() < .8 else int(chance.randint(3)),
                              float(chance.rand())))
        found += [(random_box(chance), int(chance.randint(3)), float(chance.rand()))
                  for _ in range(4)]
        images.append(dict(id=i + 1, width=SIDE, height=SIDE, file_name=f'{i}.png',
                           coco_url=f'x/{i}.png', not_exhaustive_category_ids=[],
                           neg_category_ids=[IDS[k] for k in range(3) if k not in present]))
        detections.append(found)
    categories = [dict(id=IDS[k], name=CLASSES[k], frequency='rcf'[k]) for k in range(3)]
    path = write_content(tmp_path_factory.mktemp('problem'), dict(
        images=images, annotations=annotations, categories=categories), images=False)
    return path, detections


def sample(img_id, found):
    boxes = torch.tensor([[x, y, x + w, y + h] for (x, y, w, h), *_ in found],
                         dtype=torch.float32).reshape(-1, 4)
    masks = np.zeros((len(found), SIDE, SIDE), bool)
    for mask, (box, *_) in zip(masks, found, strict=True):
        mask[:] = rle.decode(ellipse(box))
    return dict(img_id=img_id, ori_shape=(SIDE, SIDE), pred_instances=dict(
        bboxes=boxes, scores=torch.tensor([score for *_, score in found]),
        labels=torch.tensor([label for _, label, _ in found], dtype=torch.long),
        masks=torch.from_numpy(masks)))


def evaluate(name, path, detections):
    metric = METRICS.build(dict(type=f'amt_mm.{name}', ann_file=str(path)))
    metric.dataset_meta = dict(classes=CLASSES)
    for i, found in enumerate(detections):
        metric.process({}, [sample(i + 1, found)])
    return metric.evaluate(len(detections))


def pycocotools(path, detections, kind):
    """The library's AP: (IoU, class, area) -> mean precision, -1 if undefined."""
    truth = COCO(str(path))
    entries = []
    for i, found in enumerate(detections):
        for box, label, score in found:
            entry = dict(image_id=i + 1, category_id=IDS[label], score=score)
            entry['bbox' if kind == 'bbox' else 'segmentation'] = (
                box if kind == 'bbox' else ellipse(box))
            entries.append(entry)
    evaluation = COCOeval(truth, truth.loadRes(entries), kind)
    evaluation.params.maxDets = [1, 10, 300]
    evaluation.evaluate()
    evaluation.accumulate()
    return evaluation.eval['precision'][:, :, :, :, -1]


def mean(precision):
    return precision[precision > -1].mean() if (precision > -1).any() else -1


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_lvis_equals_pycocotools_if_all_is_annotated(problem, kind):
    scores = evaluate('LVISInstanceMetric', *problem)
    precision = pycocotools(*problem, kind)
    wanted = dict(AP=precision[:, :, :, 0], AP50=precision[0, :, :, 0], AP75=precision[5, :, :, 0],
                  APs=precision[..., 1], APm=precision[..., 2], APl=precision[..., 3],
                  APr=precision[:, :, 0, 0], APc=precision[:, :, 1, 0], APf=precision[:, :, 2, 0])
    for name, values in wanted.items():
        # The lvis package adds an epsilon in one more place.
        assert scores[f'lvis/{kind}_{name}'] == pytest.approx(mean(values), abs=1e-9), name
    assert .05 < scores[f'lvis/{kind}_AP'] < scores[f'lvis/{kind}_AP50'] < .95
    assert len({round(scores[f'lvis/{kind}_{name}'], 6) for name in wanted}) == len(wanted)


@pytest.mark.parametrize('kind', ['bbox', 'segm'])
def test_coco_equals_pycocotools(problem, kind):
    scores = evaluate('CocoInstanceMetric', *problem)
    precision = pycocotools(*problem, kind)
    # mmdet rounds to a tenth of a per cent.
    assert scores[f'coco/{kind}_mAP'] == pytest.approx(mean(precision[..., 0]), abs=6e-4)
    assert scores[f'coco/{kind}_mAP_50'] == pytest.approx(mean(precision[0, ..., 0]), abs=6e-4)
    assert scores[f'coco/{kind}_mAP_75'] == pytest.approx(mean(precision[5, ..., 0]), abs=6e-4)
    assert scores[f'coco/{kind}_mAP_s'] == pytest.approx(mean(precision[..., 1]), abs=6e-4)


def small_problem(tmp_path, **image):
    """One object of class 0; class 1 is absent (negative) or unknown in the other images."""
    content = dict(
        images=[dict(id=1, width=SIDE, height=SIDE, file_name='1.png', coco_url='x/1.png',
                     **{**dict(neg_category_ids=[], not_exhaustive_category_ids=[]), **image})],
        annotations=[dict(id=1, image_id=1, iscrowd=0, area=900, category_id=1,
                          bbox=[10, 10, 30, 30], segmentation=ellipse([10, 10, 30, 30]))],
        categories=[dict(id=IDS[k], name=CLASSES[k], frequency='rcf'[k]) for k in range(3)])
    return write_content(tmp_path, content, images=False)


def test_detections_of_unlisted_classes_are_not_penalised(tmp_path):
    """A false positive of class 0 with a higher score costs, unless 0 is not exhaustive."""
    right, wrong = ([10, 10, 30, 30], 0, .5), ([100, 100, 40, 40], 0, .9)
    scores = evaluate('LVISInstanceMetric', small_problem(tmp_path), [[right, wrong]])
    assert scores['lvis/bbox_AP'] == pytest.approx(.5)
    assert (scores['lvis/bbox_APr'], scores['lvis/bbox_APc']) == (pytest.approx(.5), -1)
    path = small_problem(tmp_path, not_exhaustive_category_ids=[1])
    assert evaluate('LVISInstanceMetric', path, [[right, wrong]])['lvis/bbox_AP'] > .999


@pytest.mark.parametrize(('name', 'key'), [('LVISInstanceMetric', 'lvis/{}_AP'),
                                           ('CocoInstanceMetric', 'coco/{}_mAP')])
def test_measures_what_was_mended(tmp_path, name, key):
    """Object 0 is found, text is no crowd, and an object without a mask is not measured."""
    path = small_problem(tmp_path)
    content = json.loads(path.read_text())
    sound, = content['annotations']
    content['annotations'] = [dict(sound, id=0, iscrowd='0'), dict(sound, segmentation=[[1, 2]])]
    path.write_text(json.dumps(content))
    scores = evaluate(name, path, [[([10, 10, 30, 30], 0, .5)]])
    assert scores[key.format('bbox')] > .999 and scores[key.format('segm')] > .999


@pytest.mark.parametrize(('name', 'key'), [('LVISInstanceMetric', 'lvis/segm_AP50'),
                                           ('CocoInstanceMetric', 'coco/segm_mAP_50')])
def test_no_detections_give_zero(tmp_path, name, key):
    scores = evaluate(name, small_problem(tmp_path), [[]])
    assert scores[key] == 0 and set(scores.values()) == {0.0}


@pytest.mark.parametrize('name', ['LVISInstanceMetric', 'CocoInstanceMetric'])
def test_missing_annotations(tmp_path, name):
    with pytest.raises(InputError, match='y.json: does not exist'):
        METRICS.build(dict(type=f'amt_mm.{name}', ann_file=str(tmp_path / 'y.json')))


def test_the_shim_patches_nothing_else(problem):
    """On current numpy the package itself still fails, and numpy has no `float`."""
    assert LVISEval.accumulate.__code__ is lvis.LVISEval.accumulate.__code__
    assert not hasattr(np, 'float') and lvis.eval.np is np
    truth = lvis.LVIS(str(problem[0]))
    entries = [dict(image_id=1, category_id=1, bbox=[1, 1, 9, 9], score=.5)]
    results = {}
    for kind in (lvis.LVISEval, LVISEval):
        evaluation = kind(truth, lvis.LVISResults(truth, json.loads(json.dumps(entries))), 'bbox')
        evaluation.evaluate()
        try:
            evaluation.accumulate()
            results[kind] = 'runs'
        except AttributeError as error:
            results[kind] = str(error)
    assert 'float' in results[lvis.LVISEval] and results[LVISEval] == 'runs'
