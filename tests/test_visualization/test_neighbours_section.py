"""Neighbours with their classes, and how many are of the same one."""

import numpy as np
import torch

from amt_mm.visualization.neighbours_section import neighbours_section

ANGLES = torch.tensor([0., 10, 25, 90, 100, 130])
FEATURES = torch.stack([ANGLES.deg2rad().cos(), ANGLES.deg2rad().sin()], dim=1)


def picture(row):
    return np.full((4, 4, 3), row, dtype=np.uint8)


def section_of(**how):
    return neighbours_section(FEATURES, [1, 5], ['one', 'five'], picture, '[CLS]', **how)


def test_neighbours_are_shown_nearest_first_with_class_and_cosine():
    section = section_of(labels=torch.tensor([0, 0, 1, 1, 1, 1]), classes=['hat', '<sock>'], k=2)
    one, five = section.rows
    assert [each.caption for each in one.pictures] == ['image', 'hat, 0.98', '<sock>, 0.97']
    assert [int(each.image[0, 0, 0]) for each in one.pictures] == [1, 0, 2]
    assert [int(each.image[0, 0, 0]) for each in five.pictures] == [5, 4, 3]
    # Of one: a hat and a sock; of five: two socks. Of five others, 1 and 3 are of the class.
    assert section.text[1].startswith('3 of the 4 neighbours have the class of their image')
    assert section.text[1].endswith('drawn at random 1.6 would.')


def test_without_classes_there_are_cosines_alone():
    section = section_of(k=9)
    assert len(section.text) == 1 and 'the 5 most similar ones of 6' in section.text[0]
    assert [each.caption for each in section.rows[1].pictures[:3]] == ['image', '0.87', '0.77']


def test_a_single_image_has_none():
    section = neighbours_section(FEATURES[:1], [0], ['one'], picture, '[CLS]')
    assert section.rows == () and 'only one image' in section.text[0]
