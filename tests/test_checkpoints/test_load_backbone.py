"""load_backbone: loads matching checkpoints, refuses others with the reason."""

import logging
import re

import pytest
import torch
from conftest import save_checkpoint
from mmengine.logging import MMLogger
from mmpretrain.models.utils import resize_pos_embed
from mmpretrain.registry import MODELS
from timm.models import VisionTransformer as TimmViT
from timm.models import adapt_input_conv, load_state_dict
from torch import nn

from amt_mm.checkpoints import convert, write_checkpoint
from amt_mm.checkpoints.check_filled import check_filled
from amt_mm.checkpoints.load_backbone import load_backbone
from amt_mm.errors import InputError


class Model(nn.Module):

    def __init__(self, width=4, depth=3):
        super().__init__()
        self.backbone = nn.Sequential(*[nn.Linear(width, width) for _ in range(depth)])


def save(path, state):
    torch.save({'state_dict': state, 'meta': {}}, path)
    return path


@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_every_entry_is_loaded(tmp_path, prefix):
    source, target = Model(), Model()
    path = save(tmp_path / 'a.pth', {prefix + k: v for k, v in source.state_dict().items()})
    load_backbone(target, path)
    for mine, theirs in zip(target.parameters(), source.parameters(), strict=True):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize(('state', 'reason'), [
    ({'head.weight': torch.zeros(2)}, 'no entry named `backbone'),
    (Model(width=5).state_dict(), 'another width, depth or patch size'),
    (Model(depth=1).state_dict(), 'another architecture or depth, or incomplete'),
    ({f'backbone.blocks.{i}.weight': torch.zeros(2) for i in range(9)}, 'another architecture'),
])
def test_a_checkpoint_that_does_not_fit_stops_and_changes_nothing(tmp_path, state, reason):
    model = Model()
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(InputError, match=reason) as error:
        load_backbone(model, save(tmp_path / 'a.pth', state))
    assert 'a.pth' in str(error.value) and '\n' not in str(error.value)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.parametrize('dtype', [torch.int8, torch.int64, torch.bool, torch.complex64])
def test_weights_without_their_scale_or_a_part_are_refused(tmp_path, dtype):
    state = Model().state_dict()
    state['backbone.2.bias'] = state['backbone.2.bias'].to(dtype)
    with pytest.raises(InputError, match=rf'`backbone\.2\.bias` has values of {dtype}, not float'):
        load_backbone(Model(), save(tmp_path / 'a.pth', state))


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match='none.pth: no such checkpoint'):
        load_backbone(Model(), tmp_path / 'none.pth')


@pytest.mark.parametrize(('filled', 'passes'), [(100, True), (95, True), (94, False), (0, False)])
def test_threshold_is_95_per_cent(filled, passes):
    own = {f'backbone.k{i}': torch.zeros(i + 1) for i in range(100)}
    own['head.k'] = torch.zeros(1)  # outside the backbone
    state = {key: value if i < filled else torch.zeros(0) for i, (key, value)
             in enumerate(own.items())}
    if passes:
        assert list(check_filled('x', own, state)) == list(own)[:filled]
    else:
        with pytest.raises(InputError, match=f'fills {filled} of 100 entries of the backbone'):
            check_filled('x', own, state)


ARCH = dict(embed_dims=12, num_layers=4, num_heads=3, feedforward_channels=24)


def vit(patch_size, img_size, arch=ARCH, kind='amt_mm.AMTMAEViT', **kwargs):
    model = nn.Module()
    model.backbone = MODELS.build(dict(type=kind, img_size=img_size, patch_size=patch_size,
                                       arch=arch, **kwargs))
    return model


def test_another_patch_size_is_refused_though_nearly_all_entries_fit(tmp_path):
    path = save(tmp_path / 'p8.pth', vit(8, 32).state_dict())
    with pytest.raises(InputError, match='patches of 8 px, the model .* patches of 4 px.*not resa'):
        load_backbone(vit(4, 16), path)


def test_sizes_are_named(tmp_path):
    def stem_and_layers(width, depth):
        return {'backbone.patch_embed.projection.weight': torch.zeros(width, 3, 16, 16),
                **{f'backbone.layers.{i}.ln1.weight': torch.zeros(width) for i in range(depth)}}

    with pytest.raises(InputError, match=r'the checkpoint is 1024 wide and 24 deep .*\(ViT-L/16\), '
                                         r'the model 768 wide and 12 deep .*\(ViT-B/16\)'):
        check_filled('x', stem_and_layers(768, 12), stem_and_layers(1024, 24))


@pytest.mark.parametrize(('before', 'after'), [(3, 1), (3, 6), (1, 3), (13, 4)])
def test_another_number_of_channels_embeds_grey_images_as_before(tmp_path, before, after):
    source, target = (vit(8, 32, patch_cfg=dict(in_channels=channels))
                      for channels in (before, after))
    report = load_backbone(target, save(tmp_path / 'a.pth', source.state_dict()))
    assert f'patch embedding of {before} channels fitted to {after}' in str(report)
    grey = torch.randn(2, 1, 32, 32)
    torch.testing.assert_close(
        target.backbone.patch_embed(grey.expand(-1, after, -1, -1))[0],
        source.backbone.patch_embed(grey.expand(-1, before, -1, -1))[0], rtol=1e-4, atol=1e-4)


def test_one_grey_channel_has_the_weights_that_timm_gives_it(tmp_path):
    source, target = vit(8, 32), vit(8, 32, patch_cfg=dict(in_channels=1))
    load_backbone(target, save(tmp_path / 'a.pth', source.state_dict()))
    torch.testing.assert_close(
        target.backbone.patch_embed.projection.weight,
        adapt_input_conv(1, source.backbone.patch_embed.projection.weight))


@pytest.mark.parametrize('naming', ['mae', 'timm', 'simmim'])
def test_names_of_others_are_converted(tmp_path, naming):
    source, target = vit(8, 32), vit(8, 32)
    for parameter in source.parameters():
        nn.init.normal_(parameter)
    for name, value in source.state_dict().items():
        if name.endswith('qkv.bias'):
            value[12:24] = 0  # SimMIM has none
    state = convert(source.state_dict(), naming).state
    report = load_backbone(target, save(tmp_path / 'a.pth', {**state, 'head.0.weight':
                                                             torch.ones(1)}))
    for name, value in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], value), name
    assert len(report.loaded) == len(source.state_dict()) and not report.missing
    # The encoder of MAE alone has timm's names.
    assert f'({naming.replace("mae", "timm")} naming)' in str(report)
    assert report.left_out == ('head.0.weight',)


def test_a_failed_conversion_names_the_file(tmp_path):
    state = convert(vit(8, 32).state_dict(), 'timm').state
    path = save(tmp_path / 'a.pth', {**state, 'dist_token': torch.zeros(1, 1, 12)})
    with pytest.raises(InputError, match=r'a\.pth: its encoder .*dist_token'):
        load_backbone(vit(8, 32), path)


def test_load_from_with_foreign_names_says_how_to_convert():
    state = convert(vit(8, 32).state_dict(), 'timm').state
    with pytest.raises(InputError, match='those of timm: convert it'):
        check_filled('x', vit(8, 32).state_dict(), state)


@pytest.fixture
def caught():
    """The reports that are logged, level and text."""
    records = []

    def emit(record):
        if 'entries of the backbone' in record.getMessage():
            records.append((record.levelname, record.getMessage()))

    handler = logging.Handler()
    handler.emit = emit
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel('DEBUG')
    yield records
    logger.setLevel(before)
    logger.removeHandler(handler)


def test_missing_and_unexpected_entries_are_reported(tmp_path, caught):
    state = vit(8, 32).state_dict()
    del state['backbone.layers.1.ln1.bias']
    state['backbone.mask_token'] = torch.ones(1)
    state.update({f'neck.k{i}': torch.ones(1) for i in range(9)})
    report = load_backbone(vit(8, 32), save(tmp_path / 'a.pth', state))
    assert report.missing == ('backbone.layers.1.ln1.bias',)
    assert report.unexpected == ('backbone.mask_token',)
    assert len(report.left_out) == 9
    (level, short), (debug, whole) = caught
    assert (level, short) == ('WARNING', str(report)) and debug == 'DEBUG'
    assert '53 of 54 entries of the backbone loaded' in short
    assert 'missing, kept as initialised: layers.1.ln1.bias' in short
    assert 'unexpected: mask_token' in short
    assert 'not of the encoder: neck.k0, neck.k1, neck.k2 and 6 more' in short
    assert 'neck.k8' in whole and 'neck.k8' not in short


def test_nothing_missing_is_no_warning(tmp_path, caught):
    load_backbone(vit(8, 32), save(tmp_path / 'a.pth', vit(8, 32).state_dict()))
    assert [level for level, _ in caught] == ['INFO']


def test_the_norm_of_average_pooling_is_missing_but_does_not_count(tmp_path, caught):
    small = dict(embed_dims=12, num_layers=1, num_heads=3, feedforward_channels=24)
    target = vit(8, 32, small, 'VisionTransformer', out_type='avg_featmap', final_norm=False)
    report = load_backbone(target, save(tmp_path / 'a.pth', vit(8, 32, small).state_dict()))
    assert report.missing == ('backbone.ln2.weight', 'backbone.ln2.bias')
    assert report.unexpected == ('backbone.ln1.weight', 'backbone.ln1.bias')
    assert [level for level, _ in caught] == ['INFO']
    assert 'missing, kept as initialised: ln2.weight, ln2.bias' in caught[0][1]


@pytest.mark.parametrize('names', [(), ('rel_pos_h', 'rel_pos_w')])
def test_entries_that_cannot_be_pretrained_do_not_count(tmp_path, names, caught):
    source, target = vit(8, 32), vit(8, 32)
    for layer in target.backbone.layers:
        for name in ('rel_pos_h', 'rel_pos_w'):
            layer.register_parameter(name, nn.Parameter(torch.full((3, 4), 7.)))
    target.backbone.not_pretrained = names
    path = save(tmp_path / 'a.pth', source.state_dict())
    if not names:
        with pytest.raises(InputError, match=r'fills 52 of 60 .* such as `backbone\.layers.0.rel'):
            load_backbone(target, path)
        return
    report = load_backbone(target, path)
    assert len(report.missing) == 8 and [level for level, _ in caught][:1] == ['INFO']
    assert (target.backbone.layers[0].rel_pos_h == 7).all()


@pytest.mark.parametrize('size', [64, (40, 56)])
def test_positions_are_resized_to_another_image_size(tmp_path, size):
    source, target = vit(8, 32), vit(8, size)
    nn.init.normal_(source.backbone.pos_embed)
    report = load_backbone(target, save(tmp_path / 'small.pth', source.state_dict()))
    grid = target.backbone.grid
    expected = resize_pos_embed(source.backbone.pos_embed, (4, 4), grid, 'bicubic', 1)
    assert torch.equal(target.backbone.pos_embed, expected)
    assert report.resized == ((4, 4), grid)
    assert f'position embeddings resized from 4x4 to {grid[0]}x{grid[1]}' in str(report)


@pytest.mark.parametrize(('to', 'resized'), [((40, 56), None), ((56, 40), ((5, 7), (7, 5))),
                                             ((32, 32), ((5, 7), (4, 4)))])
def test_positions_of_a_grid_that_is_not_square(tmp_path, to, resized):
    source, target = vit(8, (40, 56)), vit(8, to)
    nn.init.normal_(source.backbone.pos_embed)
    save_checkpoint(tmp_path / 'a.pth', source.state_dict(),
                    model=dict(backbone=dict(img_size=(40, 56), patch_size=8)))
    assert load_backbone(target, tmp_path / 'a.pth').resized == resized
    expected = resize_pos_embed(source.backbone.pos_embed, (5, 7), target.backbone.grid, 'bicubic')
    assert torch.equal(target.backbone.pos_embed, expected)


def test_an_unknown_grid_is_refused(tmp_path):
    path = save(tmp_path / 'a.pth', vit(8, (40, 56)).state_dict())
    with pytest.raises(InputError, match=r'a\.pth: 36 position embeddings .* to 17'):
        load_backbone(vit(8, 32), path)


def test_positions_as_a_map_without_cls(tmp_path):
    """The detector's encoder, ViTSAM: (1, h, w, D), no [CLS]."""
    source = vit(8, 32)
    nn.init.normal_(source.backbone.pos_embed)
    target = nn.Module()
    target.backbone = MODELS.build(dict(
        type='mmpretrain.ViTSAM', arch={**ARCH, 'global_attn_indexes': ()}, img_size=48,
        patch_size=8, out_channels=0, use_rel_pos=False))
    report = load_backbone(target, save(tmp_path / 'a.pth', source.state_dict()))
    expected = resize_pos_embed(source.backbone.pos_embed, (4, 4), (6, 6), 'bicubic', 1)[:, 1:]
    assert torch.equal(target.backbone.pos_embed, expected.reshape(1, 6, 6, 12))
    assert not report.missing and 'backbone.cls_token' in report.unexpected


def test_safetensors_are_loaded(tmp_path):
    source, target = vit(8, 32), vit(8, 32)
    nn.init.normal_(source.backbone.cls_token)
    write_checkpoint(tmp_path / 'a.safetensors', source.state_dict())
    load_backbone(target, tmp_path / 'a.safetensors')
    assert torch.equal(target.backbone.cls_token, source.backbone.cls_token)


@pytest.mark.parametrize('more', ['layers.4.ln1.bias', 'layers.0.attn.gamma1.weight', 'register'])
def test_an_encoder_with_more_entries_is_refused(tmp_path, more):
    state = {**vit(8, 32).state_dict(), f'backbone.{more}': torch.ones(1)}
    message = {'layers.4.ln1.bias': 'the checkpoint is 12 wide and 5 deep .* 4 deep',
               'layers.0.attn.gamma1.weight': 'layer_scale_init_value=0.1',
               'register': 'config it was trained with'}[more]
    model = vit(8, 32)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(InputError, match=f'lacks 1 entries of its encoder .*{message}'):
        load_backbone(model, save(tmp_path / 'a.pth', state))
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def timm_and_ours(theirs, **ours):
    """timm's transformer with random weights, and ours, on 5 x 7 or ``size`` patches."""
    size = theirs.pop('img_size', (40, 56))
    timm = TimmViT(**{**dict(img_size=size, patch_size=8, embed_dim=12, depth=4, num_heads=3,
                             mlp_ratio=2, num_classes=0), **theirs}).eval()
    for parameter in timm.parameters():
        nn.init.normal_(parameter, std=.3)
    model = vit(8, size, kind='VisionTransformer', out_type='raw', **ours)
    return timm, model.eval()


@pytest.mark.parametrize('size', [(40, 40), (40, 56), (48, 48)])
def test_deit_3_has_no_position_for_cls(tmp_path, size):
    """Also on a grid of 5 x 7, whose 35 positions and one are a square."""
    timm, model = timm_and_ours(dict(img_size=size, no_embed_class=True, init_values=.1),
                                layer_scale_init_value=.1)
    report = load_backbone(model, save(tmp_path / 'a.pth', timm.state_dict()))
    assert 'its [CLS] has no position embedding, as in DeiT III: zeros' in str(report)
    images = torch.randn(2, 3, *size)
    torch.testing.assert_close(model.backbone(images)[0], timm.forward_features(images),
                               atol=1e-5, rtol=0)


def test_deit_3_on_another_grid(tmp_path):
    timm, _ = timm_and_ours(dict(img_size=(32, 32), no_embed_class=True))
    _, model = timm_and_ours({})
    report = load_backbone(model, save(tmp_path / 'a.pth', timm.state_dict()))
    assert report.resized == ((4, 4), (5, 7))
    positions = torch.cat([torch.zeros(1, 1, 12), timm.pos_embed], dim=1)
    wanted = resize_pos_embed(positions, (4, 4), (5, 7), 'bicubic', 1)
    torch.testing.assert_close(model.backbone.pos_embed, wanted)


def test_a_position_of_cls_is_not_taken_for_a_patch(tmp_path):
    timm, model = timm_and_ours({})
    report = load_backbone(model, save(tmp_path / 'a.pth', timm.state_dict()))
    assert torch.equal(model.backbone.pos_embed, timm.pos_embed) and not report.notes


@pytest.mark.parametrize('left_out', [dict(qkv_bias=False), dict(proj_bias=False)])
def test_an_encoder_without_biases(tmp_path, left_out):
    timm, model = timm_and_ours(left_out)
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    report = load_backbone(model, save(tmp_path / 'a.pth', timm.state_dict()))
    assert re.search(r'its blocks have no .*bias: zeros, which compute the same', str(report))
    images = torch.randn(2, 3, 40, 56)
    torch.testing.assert_close(model.backbone(images)[0], timm.forward_features(images),
                               atol=1e-5, rtol=0)


def test_missing_entries_are_not_called_another_width(tmp_path):
    state = {key: value for key, value in vit(8, 32).state_dict().items() if 'ln2' not in key}
    with pytest.raises(InputError, match=r'fills 44 of 52 .*; it has 46 entries that fit, but '
                       r'not the other 8, such as `backbone.layers.0.ln2.bias`: it is of another '
                       'architecture or depth, or incomplete') as error:
        load_backbone(vit(8, 32), save(tmp_path / 'a.pth', state))
    assert 'width' not in str(error.value)


@pytest.mark.parametrize('key', ['state_dict_ema', 'model_ema'])
@pytest.mark.parametrize(('encoder', 'value', 'which'), [
    (None, 2., 'averaged'), ('teacher', 2., 'averaged'), ('student', 1., 'trained')])
def test_the_average_is_taken_as_timm_does(tmp_path, key, encoder, value, which):
    state = vit(8, 32).state_dict()
    torch.save({'state_dict': {name: torch.full_like(entry, 1) for name, entry in state.items()},
                key: {f'module.{name}': torch.full_like(entry, 2) for name, entry in state.items()},
                'epoch': 3}, tmp_path / 'a.pth')
    model = vit(8, 32)
    report = load_backbone(model, tmp_path / 'a.pth', encoder)
    assert model.backbone.cls_token.eq(value).all()
    assert f'of trained and averaged weights, the {which} were taken ({key} is' in str(report)
    if key == 'state_dict_ema' and encoder is None:
        assert load_state_dict(str(tmp_path / 'a.pth'))['backbone.cls_token'].eq(value).all()


def test_an_encoder_without_cls_needs_a_model_without(tmp_path):
    theirs = dict(class_token=False, global_pool='avg', fc_norm=False)
    timm, model = timm_and_ours(dict(theirs))
    path = save(tmp_path / 'a.pth', timm.state_dict())
    with pytest.raises(InputError, match=r'no \[CLS\] token, .*with_cls_token=False'):
        load_backbone(model, path)
    _, model = timm_and_ours({}, with_cls_token=False)
    assert not load_backbone(model, path).missing
    images = torch.randn(2, 3, 40, 56)
    torch.testing.assert_close(model.backbone(images)[0], timm.forward_features(images),
                               atol=1e-5, rtol=0)
