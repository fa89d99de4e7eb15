"""What is said of a broken annotation file, and what is repaired in it."""

import json
import math

import pytest
from detection_toys import rectangle, toy_content, write_content
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import amt_mm.registry  # noqa: F401
from amt_mm.detection import annotation_table, annotations
from amt_mm.detection.annotations import COCO_SOURCE, parse_annotations, read_annotations
from amt_mm.errors import InputError


@pytest.fixture
def notes(monkeypatch):
    lines = []
    monkeypatch.setattr(annotations, 'print_log', lambda line, *_: lines.append(line))
    return lines


def read(folder, content, lvis=False):
    return read_annotations(str(write_content(folder, content, False)), COCO_SOURCE, lvis)


@pytest.mark.parametrize('lvis', [False, True])
def test_a_sound_file_is_read(tmp_path, notes, lvis):
    assert read(tmp_path, toy_content(), lvis) == (toy_content(), {})
    assert not notes


def test_a_missing_file_names_its_source(tmp_path):
    with pytest.raises(InputError, match=r'x.json: does not exist; .*https://cocodataset'):
        read_annotations(str(tmp_path / 'x.json'), COCO_SOURCE)


def change(section, index, **values):
    def apply(content):
        content[section][index].update(values)
    return apply


@pytest.mark.parametrize(('damage', 'message'), [
    (change('annotations', 2, category_id=99),
     'object 102 of image 11: `category_id` 99 is not in `categories`'),
    (change('annotations', 2, image_id=7),
     'object 102 of image 7: `image_id` 7 is not in `images`'),
    (change('annotations', 2, id=100),
     'object 100 of image 11: `id` 100 is also that of object 100 of image 10'),
    (change('images', 2, id=11), 'image 11: `id` 11 is also that of image 11'),
    (change('categories', 1, id=1), 'category 1: `id` 1 is also that of category 1'),
    (change('categories', 2, name='cat'), "category 7: `name` 'cat' is also that of category 1"),
    (change('categories', 1, name=None), 'category 4: `name` None is not text'),
    (lambda content: content['categories'][1].pop('name'),
     r'category 4: `name` \(missing\) is not text'),
    (change('images', 1, width=None), 'image 11: `width` None is not a whole number from 1'),
    (change('images', 1, width=-1), 'image 11: `width` -1 is not a whole number from 1'),
    (change('images', 1, width=10**5, height=10**5),
     'image 11: `width` and `height` 100000 x 100000 are more than 178956970 pixels'),
    (change('images', 1, id=[11]), r'image \[11\]: `id` \[11\] is not a whole number'),
    (lambda content: content['annotations'][1].pop('image_id'),
     r'object 101 of image \(missing\): `image_id` \(missing\) is not a whole number'),
    (lambda content: content['annotations'].insert(1, 'x'),
     r"`annotations`\[1\]: 'x' is not an object"),
    (lambda content: content.pop('categories'), "has no list 'categories'"),
])
def test_refuses_a_faulty_file(tmp_path, damage, message):
    content = toy_content()
    damage(content)
    with pytest.raises(InputError, match=f'annotations.json:? {message}') as error:
        read(tmp_path, content)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(('damage', 'message'), [
    (change('images', 1, neg_category_ids=[1, 5]),
     'image 11: `neg_category_ids` has 5, which is not in `categories`'),
    (change('images', 1, not_exhaustive_category_ids=[[1]]),
     r'image 11: `not_exhaustive_category_ids` has \[1\], which is not in `categories`'),
    (change('images', 1, neg_category_ids=None), 'image 11: `neg_category_ids` None is not a list'),
    (change('images', 1, coco_url=''), "image 11: `coco_url` '' is not text"),
    (change('categories', 1, frequency='often'),
     "category 4: `frequency` 'often' is not one of r, c, f"),
    (lambda content: [image.pop('neg_category_ids') for image in content['images']],
     'no image has `neg_category_ids`, which the LVIS metric needs; for COCO format use'),
    (lambda content: [category.pop('frequency') for category in content['categories']],
     'no category has `frequency`, which the LVIS metric needs'),
])
def test_refuses_what_the_lvis_metric_cannot_use(tmp_path, damage, message):
    content = toy_content()
    damage(content)
    read(tmp_path, content)
    with pytest.raises(InputError, match=f'annotations.json: {message}'):
        read(tmp_path, content, lvis=True)


def test_names_ten_faults(tmp_path):
    content = toy_content()
    extra = [dict(content['annotations'][0], id=200 + i, area=-1.) for i in range(10)]
    content['annotations'] += extra
    content['images'][3]['height'] = 0
    content['annotations'][1]['bbox'] = [1, 2, 3, math.nan]
    with pytest.raises(InputError) as error:
        read(tmp_path, content)
    text = str(error.value)
    assert text.count('; ') == 10 and text.endswith('; and 2 more faults')
    # Of all sections and kinds, in the order in which they are checked.
    assert 'image 13: `height` 0 is' in text
    assert all(f'object {200 + i} of image 10: `area` -1.0 is not' in text for i in range(9))


@pytest.mark.parametrize('size', [1, 2, 3])
def test_parts_find_what_the_whole_does(tmp_path, monkeypatch, size):
    sound = toy_content()
    sound['annotations'][0].update(id=0, bbox=[1, 2, .5, 9])
    sound['annotations'][4].update(segmentation=[])
    faulty = toy_content()
    for row, change in enumerate((dict(area=-1), dict(id=102), dict(category_id=None),
                                  dict(bbox=[1, 2, 3]), dict(segmentation=7))):
        faulty['annotations'][row].update(change)

    def findings():
        with pytest.raises(InputError) as error:
            read(tmp_path, faulty)
        return read(tmp_path, sound), set(str(error.value).split(': ', 1)[1].split('; '))

    whole = findings()
    assert len(whole[1]) == 5
    assert whole[0].flaws == {105: 'box thinner than one pixel', 104: 'empty mask'}
    monkeypatch.setattr(annotation_table, '_PART', size)
    assert findings() == whole


@pytest.mark.parametrize('text', ['', '{"images": [', '[]', '\x00', '[' * 100_000,
                                  '{"images": [' + '9' * 5000 + ']}'])
def test_refuses_other_files(tmp_path, text):
    (tmp_path / 'x.json').write_text(text)
    with pytest.raises(InputError, match=r'x.json (is not JSON|has no list)'):
        read_annotations(str(tmp_path / 'x.json'), COCO_SOURCE)


def test_mends_what_is_harmless_and_says_so_once(tmp_path, notes):
    content = toy_content()
    first, second, third, *_ = content['annotations']
    first.update(iscrowd='0', id=0)
    second.update(iscrowd='1', image_id='10')
    third.update(iscrowd=True, ignore=None, segmentation=[[1, 2], *rectangle(2, 2, 30, 20)])
    content['images'][0]['width'] = 64.0
    result, flaws = read(tmp_path, content)
    wanted = toy_content()
    wanted['annotations'][0].update(id=105)
    wanted['annotations'][1].update(iscrowd=1)
    wanted['annotations'][2].update(iscrowd=1, ignore=None)
    assert result == wanted and flaws == {}
    assert [type(result['images'][0]['width'])] == [int]
    read_annotations(str(tmp_path / 'annotations.json'), COCO_SOURCE)
    note, = notes
    assert note == (
        f'annotation file {tmp_path}/annotations.json: repaired in memory, not in the file: '
        '`width` of image not written as a whole number: 1 (id 10); '
        '`image_id` of object not written as a whole number: 1 (id 101); '
        '`iscrowd` of object not written as a whole number: 3 (id 0, 101, 102); '
        'polygon of fewer than three points, or an odd count of numbers, left out: 1 (id 102); '
        'object 0, which the metrics count as never found, becomes 105: 1 (id 0)')


VALUES = (None, '0', '', math.nan, math.inf, -math.inf, -1, 0, 10**400, 1e300, True, [], {}, [[]],
          '9' * 5000)
FIELDS = {
    'images': ('id', 'width', 'height', 'file_name', 'coco_url', 'neg_category_ids',
               'not_exhaustive_category_ids'),
    'categories': ('id', 'name', 'frequency'),
    'annotations': ('id', 'image_id', 'category_id', 'bbox', 'area', 'iscrowd', 'ignore',
                    'segmentation'),
}
# What is not a fault. Text may be anything; an empty list names no category.
ACCEPTED = {
    *((section, field, repr(text)) for text in ('0', '9' * 5000) for section, field in (
        ('images', 'file_name'), ('images', 'coco_url'), ('categories', 'name'))),
    ('images', 'neg_category_ids', '[]'), ('images', 'not_exhaustive_category_ids', '[]'),
    # Nothing refers to the last image, category and object.
    *((section, 'id', value) for section in FIELDS for value in ('0', "'0'")),
    *(('annotations', flag, value) for flag in ('iscrowd', 'ignore')
      for value in ('None', '0', "'0'", 'True')),
    # Left out of training.
    ('annotations', 'area', '0'), ('annotations', 'segmentation', '[]'),
    ('annotations', 'segmentation', '[[]]'),
}


@pytest.mark.parametrize('value', VALUES, ids=lambda value: repr(value)[:9])
@pytest.mark.parametrize(('section', 'field'), [(section, field) for section, fields in
                                                FIELDS.items() for field in fields])
def test_any_value_in_any_field(tmp_path, section, field, value):
    """A value has a meaning or is named as a fault; nothing else happens."""
    content = toy_content()
    content['images'].append(dict(content['images'][0], id=14))
    content['categories'].append(dict(id=10, name='fox', frequency='r'))
    content[section][-1][field] = value
    lvis = field != 'file_name'  # which LVIS does not need
    if (section, field, repr(value)) not in ACCEPTED:
        with pytest.raises(InputError, match=rf'annotations.json: \w+ .*`{field}') as error:
            read(tmp_path, content, lvis)
        assert len(str(error.value)) < 400
        return
    result, flaws = read(tmp_path, content, lvis)
    unusable = field in ('area', 'segmentation') or field == 'ignore' and value is True
    assert list(flaws) == ([104] if unusable else [])
    assert result['annotations'][-1].get('iscrowd') == (None if value is None and field == 'iscrowd'
                                                        else int(field == 'iscrowd'
                                                                 and value is True))


@pytest.mark.parametrize('value', [None, '0', math.nan, math.inf, -math.inf, 10**400, 1e300, 300,
                                   -1000, [], {}, [1, 2]])
@pytest.mark.parametrize(('field', 'make'), [
    ('bbox', lambda value: [4, value, 20, 16]),
    ('bbox', lambda value: [4, 6, value, 16]),
    ('segmentation', lambda value: [[4, 6, 24, 6, 24, value, 4, 22]]),
    ('segmentation', lambda value: [rectangle(4, 6, 20, 16)[0], [4, 6, value, 6, 24, 22]]),
    ('segmentation', lambda value: dict(size=[44, value], counts=[1, 1, 44 * 50 - 2])),
    ('segmentation', lambda value: dict(size=[44, 50], counts=[1, value, 44 * 50 - 2])),
    ('segmentation', lambda value: dict(size=[44, 50], counts=value)),
    ('segmentation', lambda value: dict(size=value, counts=[1, 1, 44 * 50 - 2])),
])
def test_any_value_inside_a_box_or_mask(tmp_path, field, make, value):
    content = toy_content()
    content['annotations'][-1][field] = make(value)
    with pytest.raises(InputError, match=f'object 104 of image 12: `{field}') as error:
        read(tmp_path, content)
    assert len(str(error.value)) < 400


def test_an_object_with_id_0_is_never_found():
    """Why it gets another id: pycocotools gives perfect detections an AP of 0."""
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


@pytest.mark.parametrize('text', [
    '{"a": [1, -0, 0.1, -0.0, 1E5, 1e400, 123456789012345678901234567890, 2.5e-324]}',
    '[NaN, Infinity, -Infinity]', '{"a": 1, "a": 2}', '["\\ud800", "\\u00e9\\/"]', '\ufeff[]',
    '[1,]', '"' + '9' * 5000 + '"', '1e', '{"a" 1}', '[' * 100_000])
def test_reads_as_pythons_reader(text):
    try:
        expected = repr(json.loads(text.encode()))
    except (ValueError, RecursionError):
        with pytest.raises(ValueError):
            parse_annotations(text.encode())
    else:
        assert repr(parse_annotations(text.encode())) == expected
