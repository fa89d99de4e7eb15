"""describe: host, recipe and transformer of a checkpoint."""

import json
from inspect import signature

import pytest
import torch
from mmengine.config import Config
from mmpretrain.models import VisionTransformer
from safetensors.torch import save_file

from amt_mm.checkpoints.describe import describe
from amt_mm.config import apply_overlay
from amt_mm.errors import InputError
from amt_mm.guidance import SaliencyUpdateHook
from amt_mm.masking import AMTMaskGenerator
from amt_mm.models import AMTMAE, AMTMAEDecoder, AMTMAEViT, HostViT, RegisterViT
from amt_mm.shipped import configs_folder


def write(path, cfg=None, arch='deit-tiny', patch_size=16, depth=None, img_size=224, **others):
    with torch.device('meta'):
        encoder = VisionTransformer(arch, img_size, patch_size)
    state = {f'backbone.{key}': torch.zeros(value.shape)
             for key, value in encoder.state_dict().items()
             if depth is None or not key.startswith(f'layers.{depth}')}
    state.update({f'backbone.{key}': value for key, value in others.items()})
    torch.save({'state_dict': state, 'meta': {} if cfg is None else {'cfg': cfg.pretty_text}},
               path)
    return path


@pytest.mark.parametrize('config, recipe, host', [
    ('mae/mae_vit-base-p16_8xb512-amp-coslr-400e_in1k', 'MAE', 'MAE'),
    ('mae/mae-am_vit-base-p16_8xb512-amp-coslr-400e_in1k', 'MAE + AM', 'MAE'),
    ('mae/mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k', 'MAE + AMT', 'MAE'),
    ('mae/mae-amt-75-10_vit-base-p16_8xb512-amp-coslr-200e_in1k', None, 'MAE'),
    ('mae/mae-amt-throw-low_vit-base-p16_8xb512-amp-coslr-200e_in1k', None, 'MAE'),
    ('mae/mae-random-throw-45-40_vit-base-p16_8xb512-amp-coslr-200e_in1k', None, 'MAE'),
    ('mae/mae-block_vit-base-p16_8xb512-amp-coslr-200e_in1k', None, 'MAE'),
    ('simmim/simmim_vit-base-p16_8xb256-amp-coslr-200e_in1k', 'SimMIM', 'SimMIM'),
    ('simmim/simmim-am_vit-base-p16_8xb256-amp-coslr-200e_in1k', 'SimMIM + AM', 'SimMIM'),
    ('simmim/simmim-amt_vit-base-p16_8xb256-amp-coslr-200e_in1k', 'SimMIM + AMT', 'SimMIM'),
    ('simmim/simmim-amt-33-50_vit-base-p16_8xb256-amp-coslr-200e_in1k', None, 'SimMIM'),
    ('maskfeat/maskfeat_vit-base-p16_8xb256-amp-coslr-300e_in1k', None, 'MaskFeat'),
    ('maskfeat/maskfeat-amt_vit-base-p16_8xb256-amp-coslr-300e_in1k', None, 'MaskFeat')])
def test_recipes_are_the_rows_of_table_1(tmp_path, config, recipe, host):
    cfg = apply_overlay(Config.fromfile(configs_folder() / f'{config}.py'))
    found = describe(write(tmp_path / 'a.pth', cfg))
    assert (found.recipe, found.host) == (recipe, host)
    assert found.image_size == 224


@pytest.mark.slow
@pytest.mark.parametrize(('part', 'change'), [
    ('generator', dict(weighting=dict(invert=True))), ('generator', dict(hint_ratio=.1)),
    ('generator', dict(mask='random', throw='low')), ('generator', dict(visible='random')),
    ('generator', dict(warmup_throw_ratio=.4)), ('hook', dict(source='all')),
    ('model', dict(cls_loss_weight=1.)), ('model', dict(hog_loss_weight=.5)),
    ('encoder', dict(skip_layers=(0, 2))), ('host', dict(frozen_stages=8)),
    ('registers', dict(num_registers=4)),
    ('registers', dict(rotary=True)), ('neck', dict(cross_attention=True)),
    ('hook', dict(layers='mean')), ('hook', dict(normalize='head')), ('hook', dict(debias=True))])
def test_a_variant_is_not_a_row_of_the_paper(tmp_path, part, change):
    cfg = apply_overlay(Config.fromfile(
        configs_folder() / 'mae/mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'))
    hook, = cfg.custom_hooks
    changed, kind = {'generator': (cfg.data_preprocessor.mask_generator, AMTMaskGenerator),
                     'hook': (hook, SaliencyUpdateHook), 'model': (cfg.model, AMTMAE),
                     'encoder': (cfg.model.backbone, AMTMAEViT),
                     'host': (cfg.model.backbone, HostViT),
                     'registers': (cfg.model.backbone, RegisterViT),
                     'neck': (cfg.model.neck, AMTMAEDecoder)}[part]
    parameters = signature(kind)
    own = set(change) - {'warmup_throw_ratio'}
    changed.update({name: parameters.parameters[name].default for name in own})
    assert describe(write(tmp_path / 'plain.pth', cfg)).row == 'MAE + AMT'
    changed.update(change)
    found = describe(write(tmp_path / 'variant.pth', cfg))
    assert (found.recipe, found.row, found.host) == (None, None, 'MAE')


@pytest.mark.parametrize('hook', [dict(type='amt_mm.MapsFromFileHook', path='maps.npz'),
                                  dict(type='mine.MapsOfMine')])
def test_maps_of_others_are_not_a_row_of_the_paper(tmp_path, hook):
    cfg = apply_overlay(Config.fromfile(
        configs_folder() / 'mae/mae-amt_vit-base-p16_8xb512-amp-coslr-400e_in1k.py'))
    cfg.custom_hooks = [hook]
    assert describe(write(tmp_path / 'a.pth', cfg)).recipe is None


@pytest.mark.slow
def test_seeds_of_one_config_have_the_same_settings(tmp_path):
    cfg = apply_overlay(Config.fromfile(
        configs_folder() / 'clothing/mae-amt_vit-mini-p8_1xb128-coslr-30e_clothing.py'))

    def settings(name='a', **changes):
        own = Config({**cfg.to_dict(), **changes})
        return describe(write(tmp_path / f'{name}.pth', own, cfg.model.backbone.arch.to_dict(),
                              patch_size=8, img_size=64)).settings

    assert settings() == settings(randomness=dict(seed=7), work_dir='elsewhere')
    assert settings() != settings(name='b')
    assert settings() != settings(custom_hooks=[])
    assert settings() != settings(train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=31))
    assert describe(write(tmp_path / 'c.pth')).settings is None


def test_the_transformer_is_that_of_the_config(tmp_path):
    cfg = apply_overlay(Config.fromfile(
        configs_folder() / 'clothing/mae-amt_vit-mini-p8_1xb128-coslr-30e_clothing.py'))
    arch = cfg.model.backbone.arch.to_dict()
    found = describe(write(tmp_path / 'a.pth', cfg, arch, patch_size=8, img_size=64))
    assert found.backbone == {'arch': arch, 'patch_size': 8}
    assert (found.image_size, found.recipe) == (64, 'MAE + AMT')


@pytest.mark.parametrize(('norm', 'epsilon'), [
    (None, None), (dict(type='LN', eps=1e-6), None), (dict(type='LN', eps=1e-5), 1e-5),
    (dict(type='Other', eps=.01), .01), (dict(eps='1'), None), (dict(eps=-1.), None)])
def test_the_epsilon_is_that_of_the_config(tmp_path, norm, epsilon):
    cfg = apply_overlay(Config.fromfile(
        configs_folder() / 'clothing/mae-amt_vit-mini-p8_1xb128-coslr-30e_clothing.py'))
    arch = cfg.model.backbone.arch.to_dict()
    if norm:
        cfg.model.backbone.norm_cfg = norm
    for periods in ({}, {'rotary.periods': torch.ones(arch['embed_dims'] // arch['num_heads'])}):
        path = write(tmp_path / 'a.pth', cfg, arch, patch_size=8, img_size=64, **periods)
        found = describe(path).backbone.get('norm_cfg')
        assert found == (epsilon and dict(type='LN', eps=epsilon))


def test_only_the_sizes_of_a_recorded_architecture_are_taken(tmp_path):
    sizes = dict(embed_dims=192, num_layers=12, num_heads=3, feedforward_channels=768)
    for arch in ({**sizes, 'more': dict(type='Any')}, sizes):
        cfg = Config(dict(model=dict(type='AMTMAE', backbone=dict(arch=arch))))
        assert describe(write(tmp_path / 'a.pth', cfg)).backbone['arch'] == sizes


@pytest.mark.parametrize('arch', ['vit-giant', 3, dict(embed_dims=192), dict(
    embed_dims=192, num_layers='12', num_heads=3, feedforward_channels=768), ['b']])
def test_a_recorded_architecture_that_is_none_is_refused(tmp_path, arch):
    cfg = Config(dict(model=dict(type='AMTMAE', backbone=dict(arch=arch))))
    with pytest.raises(InputError, match=r'a\.pth: model\.backbone\.arch=.* is neither a name'):
        describe(write(tmp_path / 'a.pth', cfg))


@pytest.mark.parametrize('parts', [
    dict(model='x'), dict(model=dict(type=3, backbone=None)), dict(model=['a'], custom_hooks=3),
    dict(model=dict(type='AMTMAE', backbone=7), data_preprocessor='y', custom_hooks=['z'])])
def test_a_config_of_other_types_tells_nothing(tmp_path, parts):
    assert describe(write(tmp_path / 'a.pth', Config(parts))).backbone == {
        'arch': 'deit-t', 'patch_size': 16}


@pytest.mark.parametrize('arch, patch_size', [('deit-tiny', 14), ('deit-small', 16)])
def test_without_a_config_shapes_identify_a_standard_transformer(tmp_path, arch, patch_size):
    found = describe(write(tmp_path / 'a.pth', None, arch, patch_size))
    assert (found.host, found.recipe, found.image_size) == (None, None, None)
    assert found.backbone['patch_size'] == patch_size
    names = VisionTransformer.arch_zoo
    assert names[found.backbone['arch']] == names[arch]


def test_an_unknown_transformer_without_a_config_is_refused(tmp_path):
    path = write(tmp_path / 'a.pth', depth=11)
    with pytest.raises(InputError, match='11 blocks of width 192 is not a standard one'):
        describe(path)


@pytest.mark.parametrize('config', [
    dict(num_attention_heads=6, image_size=96),                            # transformers
    dict(architecture='a', model_args=dict(num_heads=6, img_size=96))])    # timm
def test_a_config_beside_the_weights_tells_heads_and_image_size(tmp_path, config):
    state = torch.load(write(tmp_path / 'a.pth', depth=11))['state_dict']
    state['backbone.pos_embed'] = torch.zeros(1, 1 + 6 * 6, 192)
    path = tmp_path / 'model.safetensors'
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    (tmp_path / 'config.json').write_text(json.dumps(config))
    found = describe(path)
    assert found.image_size == 96
    assert found.backbone['arch'] == dict(embed_dims=192, num_layers=11, num_heads=6,
                                          feedforward_channels=768)
    # What says nothing, or cannot be.
    for wrong in ({}, dict(num_attention_heads=5), dict(num_attention_heads='3'), []):
        (tmp_path / 'config.json').write_text(json.dumps(wrong))
        with pytest.raises(InputError, match='11 blocks of width 192 is not a standard one'):
            describe(path)
    (tmp_path / 'config.json').write_text('{"num_attention_heads": 6, "image_size": 1000000000}')
    assert describe(path).image_size is None
    for broken in ('{', '[' * 5000, '\udcff'):
        (tmp_path / 'config.json').write_text(broken, errors='surrogateescape')
        with pytest.raises(InputError, match=r'config\.json: cannot be read'):
            describe(path)


def test_heads_beside_the_weights_are_those_of_a_transformer_of_standard_size_too(tmp_path):
    state = torch.load(write(tmp_path / 'a.pth'))['state_dict']
    path = tmp_path / 'model.safetensors'
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    for heads, arch in ((3, 'deit-t'), (12, dict(embed_dims=192, num_layers=12, num_heads=12,
                                                 feedforward_channels=768))):
        (tmp_path / 'config.json').write_text(json.dumps(dict(num_attention_heads=heads)))
        assert describe(path).backbone['arch'] == arch


def test_another_network_is_refused(tmp_path):
    torch.save({'layer1.weight': torch.zeros(2)}, tmp_path / 'a.pth')
    with pytest.raises(InputError, match='a.pth'):
        describe(tmp_path / 'a.pth')


def test_none_means_random_weights():
    assert describe('none').recipe == 'random init' and not describe('none').backbone


def test_an_encoder_without_cls(tmp_path):
    path = write(tmp_path / 'a.pth')
    assert 'with_cls_token' not in describe(path).backbone
    state = torch.load(path)['state_dict']
    state.pop('backbone.cls_token')
    torch.save({'state_dict': state}, path)
    assert describe(path).backbone['with_cls_token'] is False


@pytest.mark.parametrize(('encoder', 'patch_size'), [(None, 8), ('teacher', 8), ('student', 16)])
def test_trained_or_averaged_weights(tmp_path, encoder, patch_size):
    trained, averaged = (torch.load(write(tmp_path / f'{size}.pth', patch_size=size))['state_dict']
                         for size in (16, 8))
    torch.save({'state_dict': trained, 'state_dict_ema': averaged}, tmp_path / 'a.pth')
    assert describe(tmp_path / 'a.pth', encoder).backbone['patch_size'] == patch_size


@pytest.mark.parametrize(('change', 'named'), [
    (dict(img_size=2**20), r'img_size=1048576 in its config, and 197 position embeddings'),
    (dict(arch=dict(num_layers=10**9)), r'arch\.num_layers=1000000000 in its config, and 12 in'),
    (dict(arch=dict(embed_dims=2**30)), r'arch\.embed_dims=1073741824 in its config, and 192 in'),
    (dict(arch=dict(feedforward_channels=2**40)), r'feedforward_channels=\d+ in its config')])
def test_sizes_that_only_the_config_has_are_refused(tmp_path, change, named):
    """A model of such a size would take all the memory."""
    arch = dict(embed_dims=192, num_layers=12, num_heads=3, feedforward_channels=768)
    backbone = {'img_size': 224, **change, 'arch': {**arch, **change.get('arch', {})}}
    cfg = Config(dict(model=dict(type='AMTMAE', backbone=backbone)))
    with pytest.raises(InputError, match=rf'a\.pth: model\.backbone\.{named}'.replace(
            r'backbone\.feed', r'backbone\.arch\.feed')):
        describe(write(tmp_path / 'a.pth', cfg))


@pytest.mark.parametrize(('name', 'shape'), [
    ('patch_embed.projection.weight', (192, 3)),
    ('patch_embed.projection.weight', (192, 0, 16, 16)),
    ('layers.0.ffn.layers.0.0.weight', ()), ('pre_norm.tokens', (4,)),
    ('rotary.periods', (0,)), ('layers.0.ffn.w12.weight', (3,))])
def test_entries_of_other_shapes_are_refused(tmp_path, name, shape):
    path = write(tmp_path / 'a.pth', **{name: torch.zeros(shape)})
    with pytest.raises(InputError, match=f'not a vision transformer: `backbone.{name}` is missing'):
        describe(path)


@pytest.mark.parametrize('parts', [
    dict(type='AMTMAE', data_preprocessor=dict(mask_generator=dict(
        type='RandomMaskGenerator', mask_ratio=[1]))),
    dict(type='IBOT', masking=dict(type='IBOTMasking', strategy=[1]))])
def test_a_list_in_place_of_a_number_or_a_name_is_no_recipe(tmp_path, parts):
    assert describe(write(tmp_path / 'a.pth', Config(dict(model=parts)))).recipe in (None, 'iBOT')
