"""What is said of a broken annotation file, and which objects cannot be learnt."""

import pytest
from detection_toys import disc, rectangle, toy_content, write_content
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import amt_mm.registry  # noqa: F401
from amt_mm.detection.annotations import COCO_SOURCE, find_flaw, read_annotations
from amt_mm.errors import InputError


def test_a_sound_file_is_read(tmp_path):
    content = toy_content()
    assert read_annotations(str(write_content(tmp_path, content, False)), COCO_SOURCE) == content


def test_a_missing_file_names_its_source(tmp_path):
    with pytest.raises(InputError, match=r'x.json: does not exist; .*https://cocodataset'):
        read_annotations(str(tmp_path / 'x.json'), COCO_SOURCE)


def change(section, index, **values):
    def apply(content):
        content[section][index].update(values)
    return apply


@pytest.mark.parametrize(('damage', 'message'), [
    (change('annotations', 2, category_id=99),
     "object 102 of image 11: category_id 99 is not in `categories`"),
    (change('annotations', 2, image_id=7), 'object 102 of image 7: the image is not in `images`'),
    (change('annotations', 2, id=100), 'duplicate id 100 in `annotations`'),
    (change('annotations', 0, id=0), 'object 0 of image 10: object ids must start at 1'),
    (change('images', 2, id=11), 'duplicate id 11 in `images`'),
    (change('categories', 1, id=1), 'duplicate id 1 in `categories`'),
    (lambda content: content['annotations'][1].pop('image_id'), "an entry lacks 'image_id'"),
    (lambda content: content.pop('categories'), "has no list 'categories'"),
])
def test_refuses_an_inconsistent_file(tmp_path, damage, message):
    content = toy_content()
    damage(content)
    with pytest.raises(InputError, match=message) as error:
        read_annotations(str(write_content(tmp_path, content, False)), COCO_SOURCE)
    assert 'annotations.json' in str(error.value) and '\n' not in str(error.value)


@pytest.mark.parametrize('text', ['', '{"images": [', '[]', '\x00'])
def test_refuses_other_files(tmp_path, text):
    (tmp_path / 'x.json').write_text(text)
    with pytest.raises(InputError, match=r'x.json (is not JSON|has no list)'):
        read_annotations(str(tmp_path / 'x.json'), COCO_SOURCE)


BOX = [4, 6, 20, 16]
WIDTH, HEIGHT = 64, 48


def entry(**changes):
    return {**dict(id=1, image_id=2, bbox=BOX, area=320, segmentation=rectangle(*BOX)), **changes}


@pytest.mark.parametrize('changes', [
    {},
    dict(bbox=[-5, -5, 20, 16]),
    dict(bbox=[63, 47, 20, 16]),
    dict(iscrowd=1, segmentation=dict(size=[HEIGHT, WIDTH], counts=[5, 3, HEIGHT * WIDTH - 8])),
    dict(segmentation=disc(*BOX, (WIDTH, HEIGHT))),
    dict(segmentation=[[1, 2], *rectangle(*BOX)]),
])
def test_usable_objects(changes):
    assert find_flaw(entry(**changes), WIDTH, HEIGHT) is None


EMPTY = rle.frPyObjects(dict(size=[HEIGHT, WIDTH], counts=[HEIGHT * WIDTH]), HEIGHT, WIDTH)


@pytest.mark.parametrize(('changes', 'reason'), [
    (dict(ignore=1), 'marked'),
    (dict(bbox=[4, 6, 0, 16]), 'thinner'),
    (dict(bbox=[4, 6, 20, .5]), 'thinner'),
    (dict(bbox=[4, 6, -20, 16]), 'thinner'),
    (dict(bbox=[4, 6, float('nan'), 16]), 'thinner'),
    (dict(bbox=[64, 6, 20, 16]), 'outside'),
    (dict(bbox=[4, -30, 20, 16]), 'outside'),
    (dict(area=0), 'empty mask'),
    (dict(segmentation=[]), 'empty mask'),
    (dict(segmentation=[[1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7]]), 'empty mask'),
    (dict(segmentation=dict(size=[HEIGHT, WIDTH], counts=[HEIGHT * WIDTH])), 'empty mask'),
    (dict(segmentation=EMPTY), 'empty mask'),
])
def test_flaws(changes, reason):
    assert reason in find_flaw(entry(**changes), WIDTH, HEIGHT)


def test_a_mask_of_another_image():
    with pytest.raises(InputError, match='the mask is 64 x 48 pixels, the image 48 x 64'):
        find_flaw(entry(segmentation=disc(*BOX, (HEIGHT, WIDTH))), WIDTH, HEIGHT)


@pytest.mark.parametrize('broken', [
    dict(bbox=[1, 2, 3]), dict(bbox=[]), dict(bbox=None), dict(bbox=[4, 6, None, 16]),
    dict(bbox=['4', '6', '20', '16']), dict(area=None)])
def test_refuses_an_invalid_box(broken):
    with pytest.raises(InputError, match='object 1 of image 2 needs valid `bbox`'):
        find_flaw(entry(**broken), WIDTH, HEIGHT)


@pytest.mark.parametrize('mask', [
    dict(counts=[5, 3, 9]), dict(size=None, counts=[5, 3, 9]), dict(size=[HEIGHT, WIDTH]),
    dict(size=[HEIGHT, WIDTH], counts=None), 'abc', [4, 6, 24, 6, 24, 22]])
def test_refuses_an_invalid_mask(mask):
    with pytest.raises(InputError, match='object 1 of image 2: `segmentation` is neither'):
        find_flaw(entry(segmentation=mask), WIDTH, HEIGHT)


def test_an_object_with_id_0_is_never_found():
    """Why it is refused: pycocotools gives perfect detections an AP of 0."""
    found = {}
    for start in (0, 1):
        content = toy_content()
        content['annotations'] = content['annotations'][:1]
        content['annotations'][0]['id'] = start
        truth = COCO()
        truth.dataset = content
        truth.createIndex()
        detections = truth.loadRes([dict(content['annotations'][0], score=.5)])
        evaluation = COCOeval(truth, detections, 'bbox')
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
        found[start] = evaluation.stats[0]
    assert found[0] == 0 and found[1] > .999
