"""The section of reconstructions: which masks, which pictures, and what they use."""

import numpy as np
import pytest
import torch
from shown_toys import toy_shown

from amt_mm.models.reconstruction import reconstruct
from amt_mm.models.recorded_masks import mask_recipe
from amt_mm.visualization import paste_reconstruction
from amt_mm.visualization.reconstruction_section import reconstruction_section

RANDOM = dict(model=dict(type='AMTMAE'), data_preprocessor=dict(
    mask_generator=dict(type='RandomMaskGenerator', mask_ratio=.2, throw_ratio=.4)))


@pytest.fixture
def toys(toy_mae):
    model = toy_mae().eval()
    return toy_shown(vit=model.backbone), model


def test_pictures_are_the_predictions_of_one_recorded_plan(toys):
    shown, model = toys
    recipe = mask_recipe(RANDOM)
    section = reconstruction_section(shown, model, recipe, None, seed=5)
    plan = recipe.generator(3, (5, 7), generator=torch.Generator().manual_seed(5))
    found = reconstruct(model, shown.inputs, plan)
    for i, row in enumerate(section.rows):
        assert [picture.caption for picture in row.pictures] == [
            'input', 'what was visible', 'prediction', 'with the true mean and contrast']
        for picture, images in zip(row.pictures[2:], (found.own, found.borrowed), strict=True):
            wanted = paste_reconstruction(shown.images[i], shown.picture(images[i]),
                                          plan.states()[i].numpy(), (5, 7))
            np.testing.assert_array_equal(picture.image, wanted)
        assert not np.array_equal(row.pictures[2].image, row.pictures[3].image)
    assert '40\xa0% visible, 20\xa0% masked and predicted, 40\xa0% thrown' in section.text[0]
    assert 'borrows the true mean and contrast' in section.text[1]


def test_without_recorded_masks_they_are_random_ones_of_mae(toys):
    shown, model = toys
    weights = torch.rand(3, 35)
    section = reconstruction_section(shown, model, mask_recipe({}), weights)
    assert '74.3\xa0% masked' in section.text[0] and 'does not tell its own' in section.text[0]


def test_recorded_weights_guide_the_plan(toys):
    shown, model = toys
    recipe = mask_recipe(dict(
        RANDOM, custom_hooks=[dict(type='amt_mm.SaliencyUpdateHook')],
        data_preprocessor=dict(mask_generator=dict(type='AttMaskGenerator', mask_ratio=.2))))
    section = reconstruction_section(shown, model, recipe, torch.linspace(1, 2, 35).expand(3, -1))
    hidden = (section.rows[0].pictures[1].image != shown.images[0]).any(axis=2)
    cells = hidden.reshape(5, 32, 7, 32).mean(axis=(1, 3)) > .5
    assert cells.ravel().nonzero()[0].tolist() == list(range(28, 35))


def test_pixels_are_called_so_and_a_guess_is_told(toys):
    shown, model = toys
    model.head.norm_pix = False
    section = reconstruction_section(shown, model, mask_recipe(RANDOM), None)
    assert len(section.rows[0].pictures) == 3
    assert section.text[1] == ('The decoder predicts pixels, so the prediction uses visible '
                               'patches alone.')
    model.head.norm_pix = None
    section = reconstruction_section(shown, model, mask_recipe(RANDOM), None)
    assert 'The file does not say what its targets were' in section.text[1]
