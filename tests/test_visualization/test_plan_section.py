"""How often each patch is masked: pictures against counts, and what the words say."""

import numpy as np
import pytest
import torch
from shown_toys import toy_shown

from amt_mm.models.recorded_masks import mask_recipe
from amt_mm.saliency import cls_saliency
from amt_mm.visualization import apply_colours
from amt_mm.visualization.plan_section import plan_section, recipe_maps

HINT = dict(model=dict(type='IBOT', masking=dict(
    type='CropMasking', strategy='high', gate=1., ratio=(.4, .4))))


def config(generator, hooks=()):
    return dict(model=dict(type='amt_mm.AMTMAE'), custom_hooks=list(hooks),
                data_preprocessor=dict(type='amt_mm.AMTDataPreprocessor',
                                       mask_generator=generator))


def section_of(config, shown, **how):
    recipe = mask_recipe(config)
    return plan_section(shown, recipe, recipe_maps(recipe, shown, {}), **how)


def captions(section):
    return [picture.caption for picture in section.rows[0].pictures]


def test_colours_are_shares_of_the_plans():
    shown, recipe = toy_shown(), mask_recipe({})
    maps = recipe_maps(recipe, shown, {})
    torch.testing.assert_close(maps, cls_saliency(shown.vit, shown.inputs))
    section = plan_section(shown, recipe, maps, draws=20, seed=3)
    assert captions(section) == ['image', 'map', 'masked', 'thrown', 'visible', 'one plan']
    random = torch.Generator().manual_seed(3)
    weights = recipe.weights(maps, (5, 7))
    plans = [recipe.draw(3, (5, 7), weights, random).tolist() for _ in range(20)]
    total = np.zeros((3, 35))
    for column, state in ((2, 1), (3, 2), (4, 0)):
        for image in range(3):
            shares = np.array([sum(plan[image][token] == state for plan in plans) / 20
                               for token in range(35)])
            total[image] += shares
            np.testing.assert_array_equal(section.rows[image].pictures[column].image,
                                          shown.patches(apply_colours(shares)))
    assert np.allclose(total, 1)
    assert '20 plans' in section.text[1]
    # 15, 14 and 6 of 35 patches.
    assert '42.9\xa0% masked, 40\xa0% thrown, 17.1\xa0% visible' in section.text[1]


@pytest.mark.parametrize(('config', 'words', 'wanted'), [
    ({}, 'AMT at its defaults, not by masks of the checkpoint: it records no masks',
     ['image', 'map', 'masked', 'thrown', 'visible', 'one plan']),
    (config(dict(type='RandomMaskGenerator', mask_ratio=.6)), 'mask_ratio=0.6. They are random',
     ['image', 'masked', 'visible', 'one plan']),
    (config(dict(type='AMTMaskGenerator'), [dict(type='SaliencyUpdateHook', source='all',
                                                 layers='mean')]),
     'attention received from all tokens, mean over all blocks',
     ['image', 'map', 'masked', 'thrown', 'visible', 'one plan']),
    (HINT, 'strategy=high', ['image', 'map', 'masked', 'visible', 'one plan']),
])
def test_it_says_which_masks_they_are(config, words, wanted):
    section = section_of(config, toy_shown(), draws=3)
    assert words in section.text[0]
    assert captions(section) == wanted
    # What nothing in the image guides is shown for one.
    assert len(section.rows) == (3 if 'map' in wanted else 1)


def test_without_cls_the_masks_are_random_and_it_says_so():
    section = section_of({}, toy_shown(with_cls_token=False), draws=200)
    assert 'Without [CLS] there is no map' in section.text[0]
    # 26 of 35, the ratio of the warm-up.
    assert '74.3\xa0% masked, 25.7\xa0% visible' in section.text[1]
    assert captions(section) == ['image', 'masked', 'visible', 'one plan']
    # Nor does the legend know of what is not there.
    assert 'hidden, to be predicted' in section.legend and 'left out' not in section.legend
