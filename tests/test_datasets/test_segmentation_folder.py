"""SegmentationFolder: layouts, pairs of image and mask, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from amt_mm.apis.image_identity import identity_of
from amt_mm.datasets import SegmentationFolder
from amt_mm.errors import InputError


def write(root, images, masks, names=('a', 'b'), extension='jpg'):
    """Images of 7 x 5 and masks in two folders."""
    for i, name in enumerate(names):
        for folder, kind, array in ((images, extension, np.full((5, 7, 3), 6 * i, np.uint8)),
                                    (masks, 'png', np.full((5, 7), i, np.uint8))):
            path = root / folder / f'{name}.{kind}'
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)


@pytest.mark.slow
@pytest.mark.parametrize(('images', 'masks', 'test_images', 'test_masks', 'reduced'), [
    ('images/train', 'masks/train', 'images/val', 'masks/val', False),
    ('train/images', 'train/masks', 'test/images', 'test/masks', False),
    ('images/training', 'annotations/training', 'images/validation', 'annotations/validation',
     True)])
def test_splits_have_their_images_and_masks(tmp_path, images, masks, test_images, test_masks,
                                            reduced):
    write(tmp_path, images, masks, ('b', 'deep/a'))
    write(tmp_path, test_images, test_masks, ('c', ))
    dataset = SegmentationFolder(str(tmp_path), 'train', num_classes=3)
    infos = [dataset.get_data_info(i) for i in range(len(dataset))]
    assert [(info['img_path'], info['seg_map_path']) for info in infos] == [
        (f'{tmp_path}/{images}/{name}.jpg', f'{tmp_path}/{masks}/{name}.png')
        for name in ('b', 'deep/a')]
    assert {info['reduce_zero_label'] for info in infos} == {reduced}
    assert {info['num_classes'] for info in infos} == {3}
    info, = SegmentationFolder(str(tmp_path), 'val')
    assert info['seg_map_path'] == f'{tmp_path}/{test_masks}/c.png'
    other = SegmentationFolder(str(tmp_path), 'val', reduce_zero_label=not reduced)
    assert other.get_data_info(0)['reduce_zero_label'] != reduced


def test_a_folder_without_splits_is_divided_by_a_hash(tmp_path):
    names = [f'{i}' for i in range(40)]
    write(tmp_path, 'images', 'masks', names, 'png')
    parts = [{info['seg_map_path'] for info in SegmentationFolder(str(tmp_path), split)}
             for split in ('train', 'val')]
    assert not parts[0] & parts[1] and len(parts[0] | parts[1]) == 40
    assert 1 < len(parts[1]) < 20


@pytest.mark.parametrize('part', ['images/{}', '{}/images'])
def test_a_folder_beside_the_splits_is_named(tmp_path, part):
    for name in ('train', 'val', 'extra'):
        images = part.format(name)
        write(tmp_path, images, images.replace('images', 'masks'))
    with pytest.raises(InputError, match='extra is next to the splits train and val: move'):
        SegmentationFolder(str(tmp_path), 'train')


def test_two_images_do_not_share_a_mask(tmp_path):
    write(tmp_path, 'images/train', 'masks/train')
    write(tmp_path, 'images/train', 'masks/train', ('b', ), extension='jpeg')
    with pytest.raises(InputError, match=r'train/b\.jpg: has the mask .*b\.png of .*b\.jpeg'):
        SegmentationFolder(str(tmp_path), 'all')


def test_an_image_without_a_mask_is_named(tmp_path):
    write(tmp_path, 'images', 'masks', ('a', 'b', 'c'))
    (tmp_path / 'masks/b.png').unlink()
    with pytest.raises(InputError, match=r'images/b.jpg: has no mask .*masks/b.png \(1 of 3 '):
        SegmentationFolder(str(tmp_path))


@pytest.mark.parametrize(('folders', 'message'), [
    ([('images', 'labels')], 'neither of masks and annotations next to it'),
    ([('images', 'masks'), ('images', 'annotations')], 'both masks and annotations'),
    ([('photos', 'masks')], 'has no images/, nor train/images/'),
])
def test_folders_that_are_missing_or_too_many_are_named(tmp_path, folders, message):
    for pair in folders:
        write(tmp_path, *pair)
    with pytest.raises(InputError, match=message):
        SegmentationFolder(str(tmp_path))


@pytest.mark.parametrize('classes', [1, 256])
def test_numbers_of_classes_that_no_mask_can_have_are_refused(tmp_path, classes):
    with pytest.raises(InputError, match=f'num_classes={classes}'):
        SegmentationFolder(str(tmp_path), num_classes=classes)


@pytest.mark.slow
def test_other_masks_make_another_identity(tmp_path):
    write(tmp_path, 'images', 'masks')
    before = identity_of(SegmentationFolder(str(tmp_path)))
    assert before == identity_of(SegmentationFolder(str(tmp_path)))
    noise = np.random.RandomState(0).randint(0, 9, (5, 7)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / 'masks/a.png')
    assert before != identity_of(SegmentationFolder(str(tmp_path)))
