"""Data sets with masks: read as by mmdet if valid, refused or logged otherwise."""

import json

import numpy as np
import pytest
from detection_toys import CLASSES, OBJECTS, disc, rectangle, toy_content, write_content
from mmengine.dataset import ClassBalancedDataset
from mmengine.registry import DefaultScope, init_default_scope
from PIL import Image

import amt_mm.registry  # noqa: F401
from amt_mm.datasets.unreadable import is_unreadable_image
from amt_mm.errors import InputError
from amt_mm.registry import DATASETS

# isort: split
import amt_mm.detection.with_mmdet  # noqa: F401, I001
from amt_mm.detection import image_sizes, instances

NAMES = ('CocoInstances', 'LVISInstances')
TRAIN = dict(filter_cfg=dict(filter_empty_gt=True, min_size=32))


@pytest.fixture(autouse=True)
def mmdet_scope():
    before = DefaultScope.get_current_instance()
    init_default_scope('mmdet')
    yield
    init_default_scope(before.scope_name)


def build(path, name='CocoInstances', **options):
    folder = '' if name == 'LVISInstances' else 'train2017'
    return DATASETS.build({**dict(
        type=f'amt_mm.{name}', data_root=str(path.parent), ann_file=path.name,
        data_prefix=dict(img=folder)), **options})


@pytest.mark.parametrize('name', NAMES)
def test_equals_mmdets_own(tmp_path, name):
    """Against mmdet's readers, on a valid file."""
    from mmdet.registry import DATASETS as MMDET
    path = write_content(tmp_path, toy_content())
    mine = build(path, name, **TRAIN)
    theirs = MMDET.build(dict(
        type={'CocoInstances': 'CocoDataset', 'LVISInstances': 'LVISV1Dataset'}[name],
        metainfo=dict(classes=CLASSES), data_root=str(tmp_path), ann_file=path.name,
        data_prefix=dict(img='train2017' if name == 'CocoInstances' else ''), **TRAIN))
    assert len(mine) == len(theirs) == 3
    for i in range(3):
        a, b = mine.get_data_info(i), theirs.get_data_info(i)
        assert {key: a[key] for key in b} == b
        assert mine.get_cat_ids(i) == theirs.get_cat_ids(i)


@pytest.mark.parametrize('name', ['../train2017/1.jpg', 'a/../../1.jpg', '/etc/1.jpg'])
def test_files_are_in_the_folder_of_images(tmp_path, name):
    content = toy_content()
    content['images'][1]['file_name'] = name
    path = write_content(tmp_path, content)
    with pytest.raises(InputError, match=f'image {content["images"][1]["id"]}: its file .* is not'):
        build(path)


def test_without_a_folder_names_are_whole_paths(tmp_path):
    content = toy_content()
    path = write_content(tmp_path, content)
    for image in content['images']:
        image['file_name'] = str(tmp_path / 'train2017' / image['file_name'])
    path.write_text(json.dumps(content))
    dataset = build(path, data_root='', ann_file=str(path), data_prefix=dict(img=''))
    assert dataset.get_data_info(0)['img_path'] == content['images'][0]['file_name']


def test_classes_are_those_of_the_file(tmp_path):
    dataset = build(write_content(tmp_path, toy_content()))
    assert dataset.metainfo['classes'] == CLASSES
    # Two objects of one class in an image count once.
    assert dataset.metainfo['image_counts'] == [2, 1, 1]
    build(tmp_path / 'annotations.json', metainfo=dict(classes=CLASSES))
    for other, message in ((('cat', 'emu', 'dog'), 'has emu, but annotation file .* has dog'),
                           (('cat', 'dog'), 'has 2 names, but annotation file .* has 3 names')):
        with pytest.raises(InputError, match=message):
            build(tmp_path / 'annotations.json', metainfo=dict(classes=other))


def test_unusable_objects_are_left_out_counted_and_logged(tmp_path, monkeypatch):
    content = toy_content()
    content['annotations'][0]['bbox'] = [4, 6, 0, 16]
    content['annotations'][2]['segmentation'] = []
    content['annotations'][3]['area'] = 0
    content['images'][2]['height'] = 30
    lines = []
    monkeypatch.setattr(instances, 'print_log', lambda line, logger: lines.append(line))
    dataset = build(write_content(tmp_path, content), **TRAIN)
    assert [info['img_id'] for info in map(dataset.get_data_info, range(len(dataset)))] == [10]
    assert [o['bbox_label'] for o in dataset.get_data_info(0)['instances']] == [1]
    assert dataset.metainfo['image_counts'] == [0, 1, 1]
    text, = lines
    assert '1 images to train on, with 1 objects of 3 classes' in text
    assert 'box thinner than one pixel: 1 (id 100)' in text
    assert 'empty mask: 2 (id 102, 103)' in text
    assert 'image smaller than 32 pixels: 1' in text
    # Image 13 has no object, image 11 has none left.
    assert 'image without objects: 2' in text


@pytest.mark.parametrize(('written', 'flag'), [('0', 0), ('1', 1), (True, 1), (False, 0)])
def test_a_crowd_by_any_spelling(tmp_path, written, flag):
    content = toy_content()
    content['annotations'][4]['iscrowd'] = written
    dataset = build(write_content(tmp_path, content))
    assert dataset.get_data_info(2)['instances'][0]['ignore_flag'] == flag


def test_object_0_is_trained_on(tmp_path):
    content = toy_content()
    content['annotations'][0]['id'] = 0
    dataset = build(write_content(tmp_path, content))
    assert len(dataset.get_data_info(0)['instances']) == 2


@pytest.mark.slow
def test_crowds_are_not_objects(tmp_path):
    content = toy_content()
    content['annotations'][4].update(iscrowd=1, segmentation=disc(10, 8, 30, 24, (50, 44)))
    path = write_content(tmp_path, content)
    assert len(build(path, **TRAIN)) == 2
    everything = build(path)
    assert [len(everything.get_data_info(i)['instances']) for i in range(4)] == [2, 2, 1, 0]
    assert everything.get_data_info(2)['instances'][0]['ignore_flag'] == 1
    assert len(build(path, test_mode=True, **TRAIN)) == 4


def test_nothing_left_to_train_on(tmp_path):
    content = toy_content()
    content['annotations'] = []
    with pytest.raises(InputError, match='leaves no image to train on: image without objects: 4'):
        build(write_content(tmp_path, content), **TRAIN)


@pytest.mark.parametrize('name', NAMES)
def test_refuses_an_image_without_a_field(tmp_path, name):
    content = toy_content()
    for key in ('file_name', 'coco_url'):
        content['images'][1].pop(key)
    path = tmp_path / 'annotations.json'
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r'json: image 11: `(file_name|coco_url)` \(missing\) is'):
        build(path, name)


def test_lvis_needs_the_fields_of_lvis(tmp_path):
    content = toy_content()
    content['images'][1].pop('neg_category_ids')
    path = write_content(tmp_path, content)
    with pytest.raises(InputError, match=r'json: image 11: `neg_category_ids` \(missing\) is not'):
        build(path, 'LVISInstances')
    assert len(build(path, 'CocoInstances')) == 4


def pipeline():
    return [dict(type='amt_mm.LoadImage'),
            dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
            dict(type='RandomResize', scale=(32, 32), ratio_range=(.1, 2.), keep_ratio=True),
            dict(type='RandomCrop', crop_type='absolute', crop_size=(32, 32),
                 recompute_bbox=True, allow_negative_crop=True),
            dict(type='FilterAnnotations', min_gt_bbox_wh=(1e-2, 1e-2), keep_empty=False),
            dict(type='RandomFlip', prob=.5),
            dict(type='PackDetInputs')]


def test_jitter_keeps_boxes_on_masks_and_empty_crops(tmp_path):
    """The pipeline of configs/_base_/datasets/coco_lsj_1024.py, at 32 pixels."""
    content = toy_content()
    content['annotations'][4].update(bbox=[10, 8, 5, 4], segmentation=rectangle(10, 8, 5, 4))
    dataset = build(write_content(tmp_path, content), pipeline=pipeline())
    np.random.seed(0)
    empty, sizes = 0, set()
    for sample in (dataset[i % 4] for i in range(120)):
        image, truth = sample['inputs'], sample['data_samples'].gt_instances
        height, width = image.shape[1:]
        assert max(height, width) <= 32
        sizes.add((height, width))
        empty += len(truth) == 0
        assert truth.masks.masks.shape == (len(truth), height, width)
        for box, mask in zip(truth.bboxes.tensor, truth.masks.masks, strict=True):
            ys, xs = mask.nonzero()
            assert box.tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]
    # Image 13 accounts for 30, crops that miss the small object of image 12 for the others.
    assert empty > 33 and len(sizes) > 20


def turned(path, orientation, kind):
    """Save the noise image at a path as one that EXIF turns; return its pixels as stored."""
    with Image.open(path) as image:
        image.load()
    image.save(path, format=kind, quality=95)
    with Image.open(path) as saved:
        pixels = np.asarray(saved)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, format=kind, quality=95, exif=exif)
    return pixels


@pytest.mark.parametrize(('orientation', 'labelled_turned'), [
    (5, False), (6, True), (6, False), (8, False)])
@pytest.mark.parametrize('kind', ['JPEG', 'TIFF'])
def test_photographs_turned_by_exif_keep_their_boxes(tmp_path, monkeypatch, orientation,
                                                     labelled_turned, kind):
    content = toy_content()
    path = write_content(tmp_path, content)
    wanted = turned(tmp_path / 'train2017/0.png', orientation, kind)
    if labelled_turned:
        content['images'][0].update(width=48, height=64)
        path.write_text(json.dumps(content))
    lines = []
    monkeypatch.setattr(image_sizes, 'print_log', lambda line, *_: lines.append(line))
    dataset = build(path, pipeline=pipeline()[:2])
    shape = (64, 48) if labelled_turned else (48, 64)
    if labelled_turned:
        wanted = np.rot90(wanted, -1)
    sample = dataset[0]
    assert sample['img'].shape[:2] == sample['gt_masks'].masks.shape[1:] == shape
    assert np.abs(sample['img'][:, :, ::-1].astype(int) - wanted).mean() < 2
    assert lines == ([] if labelled_turned else [
        f'annotation file {path}: labelled without the EXIF orientation, so these images are not '
        'rotated: 1 (id 10)'])


def test_refuses_images_of_another_size(tmp_path):
    content = toy_content()
    path = write_content(tmp_path, content)
    dataset = build(path, pipeline=pipeline())
    for number in (0, 2):
        content['images'][number]['width'] += 1
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=(
            r'annotations.json: image 10: `height` and `width` are 48 x 65, but .*/train2017/0.png '
            r'has 48 x 64 pixels; image 12: .*2.png has 44 x 50 pixels$')):
        build(path)
    # Changed, or on another machine: at loading.
    Image.new('RGB', (30, 64)).save(tmp_path / 'train2017/0.png')
    with pytest.raises(InputError, match=r'0.png: has 64 x 30 pixels, but its labels are for '
                                         r'48 x 64 \(height x width\)$') as error:
        dataset[0]
    # Training replaces unreadable images, but not these.
    assert not is_unreadable_image(error.value)


def test_a_missing_image_is_named(tmp_path):
    dataset = build(write_content(tmp_path, toy_content()), pipeline=pipeline())
    (tmp_path / 'train2017/1.png').unlink()
    with pytest.raises(InputError, match='train2017.1.png: unreadable .*the file does not exist'):
        dataset[1]


def test_repeat_factors(tmp_path):
    """An image is repeated ceil(max sqrt(t / f)) times (Gupta et al.), f a share of images."""
    dataset = build(write_content(tmp_path, toy_content()), **TRAIN)
    repeated = ClassBalancedDataset(dataset, oversample_thr=1.5)
    assert repeated.metainfo['classes'] == CLASSES
    share = {0: 2 / 3, 1: 1 / 3, 2: 1 / 3}
    for image in range(3):
        wanted = max(np.sqrt(1.5 / share[label]) for i, label, *_ in OBJECTS if i == image)
        assert repeated.repeat_indices.count(image) == np.ceil(wanted)
