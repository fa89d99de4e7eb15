"""Components below their images."""

import numpy as np
import torch
from shown_toys import toy_shown

from amt_mm.visualization.components_section import components_row, components_section
from amt_mm.visualization.feature_colours import component_colours


def test_each_image_stands_on_the_colours_of_its_patches():
    shown, features = toy_shown(), torch.randn(3, 35, 6)
    row = components_row(shown, features)
    colours, share = component_colours(features)
    assert [picture.caption for picture in row.pictures] == ['a.jpg', '<b>.jpg', 'c.jpg']
    for i, picture in enumerate(row.pictures):
        np.testing.assert_array_equal(picture.image[:160], shown.images[i])
        np.testing.assert_array_equal(picture.image[160:], shown.patches(colours[i]))
    assert row.name == f'{100 * share:.0f} % of the variance'


def test_several_encoders_have_a_row_each():
    shown = toy_shown()
    section = components_section([components_row(shown, torch.randn(3, 35, 6), name)
                                  for name in ('MAE', 'AMT')])
    assert [row.name.partition(':')[0] for row in section.rows] == ['MAE', 'AMT']
