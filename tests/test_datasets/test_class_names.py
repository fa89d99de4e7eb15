"""A label means the same class wherever an encoder is judged."""

import re

import numpy as np
import pytest
from labelled_toys import LabelledImages
from PIL import Image
from torch.utils.data import Subset

from amt_mm.datasets import ImageFolder
from amt_mm.datasets.class_names import check_same_classes, class_names
from amt_mm.errors import InputError


def named(*names):
    return LabelledImages([0], metainfo=dict(classes=list(names)))


def test_names_of_a_data_set_a_part_of_it_and_of_what_has_none(toy_images):
    assert class_names(toy_images(3)) is None and class_names([1]) is None
    assert class_names(named('a', 'b')) == ('a', 'b')
    assert class_names(Subset(Subset(named('a', 'b'), [0]), [0])) == ('a', 'b')


def test_the_same_classes_and_unnamed_ones_pass(toy_images):
    check_same_classes(named('a', 'b'), Subset(named('a', 'b'), [0]), 'probe')
    check_same_classes(named('a', 'b'), toy_images(2), 'probe')
    check_same_classes(toy_images(2), named('a', 'b'), 'probe')


@pytest.mark.parametrize(('train', 'test', 'message'), [
    ('abcdef', 'adef', 'b, c only among the training images'),
    ('abcdef', 'f', 'a, b, c, ... only among the training images'),
    ('ab', 'acb', 'c only among the test images'),
    ('ab', 'ac', 'b only among the training images; c only among the test images'),
    ('ab', 'ba', 'the same classes in another order')])
def test_others_are_named(train, test, message):
    with pytest.raises(InputError, match=rf'probe: training and test.*{re.escape(message)}'):
        check_same_classes(named(*train), named(*test), 'probe')


def test_a_test_folder_that_lacks_a_class_is_found_out(tmp_path):
    """Its labels would be 0, 1 for shirts and trousers, which are 1, 2 in training."""
    for name in ('train/hats', 'train/shirts', 'train/trousers', 'test/shirts', 'test/trousers'):
        (tmp_path / name).mkdir(parents=True)
        Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / name / 'a.png')
    train, test = (ImageFolder(data_root=str(tmp_path), data_prefix=part)
                   for part in ('train', 'test'))
    assert (train.get_gt_labels()[1], test.get_gt_labels()[0]) == (1, 0)
    with pytest.raises(InputError, match='hats only among the training images'):
        check_same_classes(train, test, 'probe')
