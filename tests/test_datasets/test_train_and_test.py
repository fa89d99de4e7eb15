"""Training and test set share their classes, but no images."""

import re

import cv2
import numpy as np
import pytest
from labelled_toys import LabelledImages
from torch.utils.data import Subset

from amt_mm.datasets import ConcatDataset, ImageFolder, PackedImages, pack
from amt_mm.datasets.train_and_test import check_train_and_test, class_names
from amt_mm.errors import InputError


def named(*names):
    return LabelledImages([0], metainfo=dict(classes=list(names)))


def test_class_names_of_data_sets_and_subsets(toy_images):
    assert class_names(toy_images(3)) is None and class_names([1]) is None
    assert class_names(named('a', 'b')) == ('a', 'b')
    assert class_names(Subset(Subset(named('a', 'b'), [0]), [0])) == ('a', 'b')


def test_equal_and_unnamed_classes_pass(toy_images):
    check_train_and_test(named('a', 'b'), Subset(named('a', 'b'), [0]), 'probe')
    check_train_and_test(named('a', 'b'), toy_images(2), 'probe')
    check_train_and_test(toy_images(2), named('a', 'b'), 'probe')


@pytest.mark.parametrize(('train', 'test', 'message'), [
    ('abcdef', 'adef', 'b, c only in the training set'),
    ('abcdef', 'f', 'a, b, c, ... only in the training set'),
    ('ab', 'acb', 'c only in the test set'),
    ('ab', 'ac', 'b only in the training set; c only in the test set'),
    ('ab', 'ba', 'the same classes in another order')])
def test_differences_are_named(train, test, message):
    with pytest.raises(InputError, match=rf'probe: training and test set.*{re.escape(message)}'):
        check_train_and_test(named(*train), named(*test), 'probe')


def test_a_test_folder_without_a_class_is_refused(tmp_path):
    """Its shirts and trousers would be labelled 0, 1 instead of 1, 2."""
    for name in ('train/hats', 'train/shirts', 'train/trousers', 'test/shirts', 'test/trousers'):
        (tmp_path / name).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / name / 'a.png'), np.zeros((8, 8, 3), np.uint8))
    train, test = (ImageFolder(data_root=str(tmp_path), data_prefix=part)
                   for part in ('train', 'test'))
    assert (train.get_gt_labels()[1], test.get_gt_labels()[0]) == (1, 0)
    with pytest.raises(InputError, match='hats only in the training set'):
        check_train_and_test(train, test, 'probe')


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f'{name}.png'), np.zeros((8, 8, 3), np.uint8))
    return folder


def splits(root):
    return (ImageFolder(data_root=str(root), split=split) for split in ('train', 'val'))


@pytest.mark.slow
def test_a_class_of_test_images_without_a_training_image_is_refused(tmp_path):
    """Splits of one folder agree on the classes a, b and zebra, whatever images they have."""
    write(tmp_path, *(f'train/{name}/{i}' for name in 'ab' for i in range(9)),
          'val/b/1', 'val/zebra/1')
    train, test = splits(tmp_path)
    assert class_names(train) == class_names(test) == ('a', 'b', 'zebra')
    message = r'probe: zebra has test images but no training image, .*: add training images'
    for part in (test, Subset(test, [1])):
        with pytest.raises(InputError, match=message):
            check_train_and_test(train, part, 'probe')
    # Subsets, such as the drawn ones of a probe, count as they are.
    check_train_and_test(train, Subset(test, [0]), 'probe')
    with pytest.raises(InputError, match='probe: b, zebra has test images'):
        check_train_and_test(Subset(train, range(9)), test, 'probe')
    write(tmp_path, 'train/zebra/1')
    check_train_and_test(*splits(tmp_path), 'probe')


def test_a_class_without_test_images_passes(tmp_path):
    write(tmp_path, 'train/a/1', 'train/b/1', 'val/b/1')
    check_train_and_test(*splits(tmp_path), 'probe')


@pytest.fixture
def root(tmp_path):
    for name in ('a/1', 'a/2', 'b/1', 'b/2', 'b/3'):
        (tmp_path / 'images' / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / 'images' / f'{name}.png'), np.zeros((8, 8, 3), np.uint8))
    return tmp_path / 'images'


def images(root, **kwargs):
    return ImageFolder(data_root=str(root), **kwargs)


@pytest.mark.slow
def test_an_image_in_both_parts_is_named(root):
    whole = images(root)
    for train, test, count in (
            (whole, whole, 5), (whole, Subset(whole, [4, 0]), 2), (Subset(whole, [0, 1]), whole, 2),
            (whole, images(root, data_prefix='b', with_label=False), 3),
            (ConcatDataset([images(root / 'a', with_label=False)]), whole, 2)):
        with pytest.raises(InputError, match=f'probe: {count} of the {len(test)} test images .*'
                           rf'such as {re.escape(str(root))}/+[ab]/\d.png: '):
            check_train_and_test(train, test, 'probe')


@pytest.mark.slow
def test_parts_that_share_a_folder_but_no_image_pass(root):
    whole = images(root)
    check_train_and_test(Subset(whole, [0, 2]), Subset(whole, [1, 3, 4]), 'probe')
    check_train_and_test(images(root / 'a'), images(root / 'b'), 'probe')


def test_packed_images_are_those_of_their_file(root, tmp_path):
    """Names in it are relative to the root of what was packed, so others may be equal."""
    packed = []
    for name in ('one', 'two'):
        pack(images(root), tmp_path / f'{name}.pack')
        packed.append(PackedImages(str(tmp_path / f'{name}.pack')))
    check_train_and_test(*packed, 'probe')
    with pytest.raises(InputError, match='5 of the 5 test images'):
        check_train_and_test(packed[0], packed[0], 'probe')
