"""The masks in the config of a checkpoint: what is built, what is not, and what is read of maps."""

import pytest
import torch
from mmengine.config import Config

from amt_mm.config import apply_overlay
from amt_mm.errors import InputError
from amt_mm.masking import AMTMaskGenerator, CropMasking, RandomMaskGenerator
from amt_mm.models import ReleasedWeights
from amt_mm.models.recorded_masks import mask_recipe
from amt_mm.saliency import SaliencySource
from amt_mm.shipped import configs_folder

GRID = (4, 6)


def recorded(config):
    return apply_overlay(Config.fromfile(configs_folder() / f'{config}.py')).to_dict()


@pytest.mark.parametrize(('config', 'kind', 'settings'), [
    ('mae/mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k', AMTMaskGenerator,
     dict(mask_ratio=.45, throw_ratio=.40, throw='middle', unit=1)),
    ('mae/mae-amt-throw-low_vit-base-p16_8xb512-amp-coslr-200e_in1k', AMTMaskGenerator,
     dict(throw='low')),
    ('simmim/simmim-amt_vit-base-p16_8xb256-amp-coslr-200e_in1k', AMTMaskGenerator,
     dict(mask_ratio=.44, throw_ratio=.26, unit=2, rounding='ceil')),
    ('maskfeat/maskfeat-random_vit-base-p16_8xb256-amp-coslr-300e_in1k', RandomMaskGenerator, {}),
    ('mae/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k', RandomMaskGenerator,
     dict(mask_ratio=.75, throw_ratio=0.)),
    ('attmask/ibot-attmask-hint_vit-small-p16_4xb60-amp-coslr-100e_in1k', CropMasking,
     dict(strategy='hint', gate=.5)),
])
def test_masks_of_a_config(config, kind, settings):
    recipe = mask_recipe(recorded(config))
    assert type(recipe.generator) is kind and recipe.recorded
    assert {name: getattr(recipe.generator, name) for name in settings} == settings
    assert recipe.source == SaliencySource()


def test_settings_of_the_maps_are_read():
    config = recorded('mae/mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k')
    config['custom_hooks'][0].update(source='all', layers=3, debias=True)
    assert mask_recipe(config).source == SaliencySource('all', 3, debias=True)


def test_annealed_masks_are_those_at_the_end():
    recipe = mask_recipe(recorded('mae/mae-amt-annealed_vit-base-p16_8xb512-amp-coslr-200e_in1k'))
    assert recipe.generator.guidance == 1


@pytest.mark.parametrize(('config', 'reason'), [
    ({}, 'records no masks'),
    (dict(model=dict(type='ImageClassifier')), 'records no masks'),
    (dict(model=dict(type='amt_mm.AMTMAE'), data_preprocessor=dict(
        mask_generator=dict(type='os.system', command='x'))), 'system, are not of this toolbox'),
    (dict(model=dict(type='amt_mm.AMTMAE'), data_preprocessor=dict(
        mask_generator=dict(type='MaskPlan'))), 'MaskPlan, are not of this toolbox'),
    (dict(model=dict(type='amt_mm.IBOT', masking=None)), 'records no masks'),
])
def test_otherwise_it_is_amt_at_its_defaults_and_says_why(config, reason):
    recipe = mask_recipe(config)
    assert not recipe.recorded and reason in recipe.reason
    assert type(recipe.generator) is AMTMaskGenerator and recipe.generator.mask_ratio == .45


def test_losses_of_training_are_not_invented():
    recipe = mask_recipe(recorded('mae/mae-loss-guided_vit-base-p16_8xb512-amp-coslr-200e_in1k'))
    assert not recipe.recorded and 'loss of each patch' in recipe.reason


@pytest.mark.parametrize('hooks', [[], [dict(type='amt_mm.MapsFromFileHook', path='maps.npz')]])
def test_maps_of_others_are_not_made_by_the_encoder(hooks):
    config = recorded('mae/mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k')
    config['custom_hooks'] = hooks
    recipe = mask_recipe(config)
    assert not recipe.recorded and 'its encoder did not make' in recipe.reason


def test_settings_that_do_not_fit_are_one_line():
    config = dict(model=dict(type='amt_mm.AMTMAE'), data_preprocessor=dict(
        mask_generator=dict(type='amt_mm.AMTMaskGenerator', ratio=.3)))
    with pytest.raises(InputError, match='AMTMaskGenerator in the config of the .*ratio'):
        mask_recipe(config)


def test_maps_are_read_as_in_training():
    maps = torch.rand(2, 24, generator=torch.Generator().manual_seed(0))
    config = recorded('mae/mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k')
    whole = mask_recipe(config).weights(maps, GRID)
    # The mean of a bilinear map over a cell: 1/8, 6/8 and 1/8 along each axis, borders repeated.
    padded = torch.nn.functional.pad(maps.view(2, 1, *GRID), (1, 1, 1, 1), mode='replicate')
    across = padded[..., :-2] / 8 + padded[..., 1:-1] * 6 / 8 + padded[..., 2:] / 8
    wanted = across[:, 0, :-2] / 8 + across[:, 0, 1:-1] * 6 / 8 + across[:, 0, 2:] / 8
    torch.testing.assert_close(whole.unflatten(1, GRID), wanted)
    config['data_preprocessor']['type'] = 'amt_mm.ReleasedWeights'
    released = mask_recipe(config)
    assert released.preprocessor is ReleasedWeights
    # Its corner decides alone.
    changed = maps.view(2, *GRID).clone()
    changed[:, 2:] = changed[:, :, 2:] = 9
    assert torch.equal(released.weights(changed.flatten(1), GRID), released.weights(maps, GRID))
    distilled = mask_recipe(dict(model=dict(type='IBOT', masking=dict(strategy='high',
                                                                      type='amt_mm.CropMasking'))))
    assert torch.equal(distilled.weights(maps, GRID), maps)


def test_plans_follow_the_weights_and_the_seed():
    weights = torch.linspace(1, 2, 24)[None]
    attmask = mask_recipe(dict(
        model=dict(type='AMTMAE'), custom_hooks=[dict(type='amt_mm.SaliencyUpdateHook')],
        data_preprocessor=dict(mask_generator=dict(type='AttMaskGenerator', mask_ratio=.25))))
    distilled = mask_recipe(dict(model=dict(type='IBOT', masking=dict(
        type='amt_mm.CropMasking', strategy='high', gate=1., ratio=(.25, .25)))))
    for recipe in (attmask, distilled):
        # The six of the largest weights.
        states = recipe.draw(1, GRID, weights, torch.Generator().manual_seed(0))
        assert states[0].int().tolist() == [0] * 18 + [1] * 6
    amt = mask_recipe({})
    draws = [amt.draw(1, GRID, weights, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
