"""ViTDet against the pre-training ViT, mmpretrain's ViTSAM and a plain layer."""

import pytest
import torch
from mmpretrain.models import VisionTransformer, ViTSAM
from mmpretrain.registry import MODELS
from torch.nn import functional as F

from amt_mm.detection import ViTDet
from amt_mm.errors import InputError

ARCH = dict(embed_dims=24, num_layers=5, num_heads=3, feedforward_channels=48)
SIZE = (64, 96)  # 8 x 12 patches of 8


def make(seed=0, training=False, **kwargs):
    torch.manual_seed(seed)
    model = ViTDet(**{'arch': ARCH, 'img_size': SIZE, 'patch_size': 8, 'window_size': 3, **kwargs})
    model.init_weights()
    model.train(training)
    return model


def randomise_positions(model):
    for name, parameter in model.named_parameters():
        if 'rel_pos' in name or 'pos_embed' in name:
            torch.nn.init.normal_(parameter, std=.3)


@pytest.fixture(scope='module')
def pretrained():
    """Encoder of this toolbox's pre-training, on a rectangular image."""
    torch.manual_seed(1)
    encoder = MODELS.build(dict(type='amt_mm.AMTMAEViT', arch=ARCH, img_size=SIZE, patch_size=8))
    encoder.init_weights()
    torch.nn.init.normal_(encoder.pos_embed)
    return encoder.state_dict()


def test_layer_scale_is_that_of_the_pretraining_vit():
    vit = VisionTransformer(ARCH, SIZE, 8, with_cls_token=False, out_type='featmap',
                            final_norm=False, layer_scale_init_value=.1)
    vit.eval()  # returns None
    for name, parameter in vit.named_parameters():
        if 'gamma' in name:
            torch.nn.init.uniform_(parameter, .2, 1)
    model = make(window_size=0, use_rel_pos=False, layer_scale_init_value=.1)
    missing, unexpected = model.load_state_dict(vit.state_dict(), strict=False)
    assert not missing and not unexpected
    images = torch.randn(1, 3, *SIZE)
    assert torch.allclose(model(images)[-1], vit(images)[-1], atol=1e-5)


@pytest.mark.parametrize('relative', [True, False])
def test_equals_pretraining_vit_without_cls(pretrained, relative):
    model = make(window_size=0, use_rel_pos=relative)
    missing, unexpected = model.load_state_dict(pretrained, strict=False)
    assert {key.rpartition('.')[2] for key in missing} == (
        {'rel_pos_h', 'rel_pos_w'} if relative else set())
    assert all(key.endswith(model.not_pretrained) for key in missing)
    assert set(unexpected) == {'cls_token', 'ln1.weight', 'ln1.bias'}

    vit = VisionTransformer(ARCH, SIZE, 8, with_cls_token=False, out_type='featmap',
                            final_norm=False)
    vit.load_state_dict({**pretrained, 'pos_embed': pretrained['pos_embed'][:, 1:]}, strict=False)
    images = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        features, = model(images)
        wanted, = vit(images)
    assert features.shape == (2, 24, 8, 12)
    assert wanted.std() > .1
    torch.testing.assert_close(features, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('size', [SIZE, (80, 56)], ids=str)
def test_equals_vitsam(size):
    """Windows, padded windows, global layers and both kinds of positions together."""
    model = make()
    randomise_positions(model)
    other = ViTSAM({**ARCH, 'global_attn_indexes': [1, 2, 3, 4]}, SIZE, 8, out_channels=0,
                   window_size=3)
    other.load_state_dict(model.state_dict())
    images = torch.randn(2, 3, *size)
    with torch.no_grad():
        torch.testing.assert_close(model(images)[0], other(images)[0], rtol=1e-4, atol=1e-5)


def slow_windows(attend, x, side):
    """Cut windows of one map, pad those across the edge with zeros, attend in each."""
    rows, columns = x.shape[:2]
    out = torch.empty_like(x)
    for top in range(0, rows, side):
        for left in range(0, columns, side):
            window = torch.zeros(side, side, x.shape[2])
            part = x[top:top + side, left:left + side]
            window[:part.shape[0], :part.shape[1]] = part
            attended = attend(window[None])[0]
            out[top:top + side, left:left + side] = attended[:part.shape[0], :part.shape[1]]
    return out


def test_layer_attends_in_windows():
    model = make()
    randomise_positions(model)
    layer = model.layers[0]
    assert layer.window_size == 3 and len(layer.attn.rel_pos_h) == 5
    x = torch.randn(2, 7, 4, 24)
    with torch.no_grad():
        for sample, got in zip(x, layer(x), strict=True):
            between = sample + slow_windows(layer.attn, layer.ln1(sample), 3)
            hidden = F.gelu(layer.ffn.layers[0][0](layer.ln2(between)))
            torch.testing.assert_close(got, between + layer.ffn.layers[1](hidden))


@pytest.mark.parametrize(('arch', 'wanted'), [
    ('deit-tiny', [2, 5, 8, 11]), ('deit-small', [2, 5, 8, 11]), ('base', [2, 5, 8, 11]),
    ('large', [5, 11, 17, 23]), ({**ARCH, 'num_layers': 6}, [1, 2, 4, 5]),
    ({**ARCH, 'num_layers': 2}, [0, 1]), ({**ARCH, 'global_attn_indexes': [0]}, [0])], ids=str)
def test_global_layers(arch, wanted):
    with torch.device('meta'):
        model = ViTDet(arch=arch, img_size=256)
    windows = [layer.window_size for layer in model.layers]
    assert [i for i, window in enumerate(windows) if not window] == wanted
    assert set(windows) <= {0, 14}
    for layer, window in zip(model.layers, windows, strict=True):
        assert len(layer.attn.rel_pos_w) == 2 * (window or 256 // 16) - 1
    with torch.device('meta'):
        vit = VisionTransformer(arch, 256, with_cls_token=False, out_type='featmap')
    own = {k for k in model.state_dict() if not k.endswith(model.not_pretrained)}
    assert own == set(vit.state_dict()) - {'ln1.weight', 'ln1.bias'}


@pytest.mark.parametrize('size', [(64, 64), (100, 133), (32, 200)], ids=str)
def test_other_sizes_at_run_time(size):
    """Features of larger and odd images are finite and differ across the image."""
    model = make()
    randomise_positions(model)
    features, = model(torch.randn(1, 3, *size))
    assert features.shape == (1, 24, -(-size[0] // 8), -(-size[1] // 8))
    assert features.isfinite().all()
    features.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_positions_of_other_sizes_are_bicubic():
    model = make()
    for layer in model.layers:  # only the position embedding is left
        torch.nn.init.zeros_(layer.attn.proj.weight)
        torch.nn.init.zeros_(layer.ffn.layers[1].weight)
    torch.nn.init.zeros_(model.patch_embed.projection.weight)
    torch.nn.init.zeros_(model.patch_embed.projection.bias)
    features, = model(torch.randn(1, 3, 80, 56))
    wanted = F.interpolate(model.pos_embed.permute(0, 3, 1, 2), (10, 7), mode='bicubic')
    torch.testing.assert_close(features, wanted)


@pytest.mark.parametrize(('shape', 'cls_token', 'grid'), [
    ((1, 50, 24), True, (7, 7)),      # square pre-training
    ((1, 49, 24), False, (7, 7)),     # without [CLS]
    ((1, 97, 24), True, (8, 12)),     # this model's own grid
    ((1, 5, 7, 24), False, (5, 7)),   # another detector
    ((1, 8, 12, 24), False, (8, 12)),
], ids=str)
@pytest.mark.parametrize('prefix', ['', 'backbone.'])
def test_positions_are_resized_once_on_loading(shape, cls_token, grid, prefix):
    model = make()
    given = torch.randn(shape)
    state = {prefix + 'pos_embed': given}
    if cls_token:
        state[prefix + 'cls_token'] = torch.randn(1, 1, 24)
    before = given.clone()
    whole = torch.nn.ModuleDict({'backbone': model}) if prefix else model
    whole.load_state_dict(state, strict=False)
    wanted = (given[:, 1:] if cls_token else given).reshape(1, *grid, 24)
    if grid != (8, 12):
        wanted = F.interpolate(wanted.permute(0, 3, 1, 2), (8, 12),
                               mode='bicubic').permute(0, 2, 3, 1)
    torch.testing.assert_close(model.pos_embed.detach(), wanted)
    assert torch.equal(state[prefix + 'pos_embed'], before)  # the caller's state is unchanged
    again = make(seed=5)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.pos_embed, model.pos_embed)


def test_refuses_positions_that_fit_no_grid():
    model = make()
    with pytest.raises(InputError, match='^pos_embed: 35 positions are neither a square'):
        model.load_state_dict({'pos_embed': torch.zeros(1, 35, 24)}, strict=False)
    with pytest.raises(RuntimeError, match='size mismatch for pos_embed'):
        model.load_state_dict({'pos_embed': torch.zeros(1, 49, 32)}, strict=False)


def test_checkpointing_changes_only_memory():
    images = torch.randn(1, 3, *SIZE)
    gradients, kept = [], []
    for with_cp in False, True:
        model = make(training=True, with_cp=with_cp, drop_path_rate=.5)
        randomise_positions(model)
        torch.manual_seed(2)
        count = [0]
        with torch.autograd.graph.saved_tensors_hooks(
                lambda t, count=count: count.__setitem__(0, count[0] + t.numel()) or t,
                lambda t: t):
            loss = model(images)[0].square().sum()
        loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
        kept.append(count[0])
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient)
    assert kept[1] < kept[0] / 5


def test_stochastic_depth_covers_both_halves():
    """With a rate near 1 nearly every sample skips the last layer, attention included."""
    model = make(training=True, drop_path_rate=.999)
    layer = model.layers[-1]
    torch.nn.init.normal_(layer.attn.proj.bias, std=5)
    x = torch.randn(64, 2, 2, 24)
    with torch.no_grad():
        untouched = (layer(x) == x).flatten(1).all(1)
    assert untouched.sum() > 55
    model.layers[0].eval()
    assert model.layers[0].drop_path.drop_prob == 0


def test_autocast():
    model = make()
    randomise_positions(model)
    images = torch.randn(1, 3, *SIZE)
    with torch.no_grad():
        wanted, = model(images)
        with torch.autocast('cpu', dtype=torch.bfloat16):
            features, = model(images)
    assert (features - wanted).abs().mean() < .02 * wanted.abs().mean()


@pytest.mark.parametrize(('arch', 'message'), [
    ('basis', "model.backbone.arch 'basis': use one of b, base"),
    (dict(embed_dims=24, num_layers=2), 'num_heads, feedforward_channels is missing')], ids=str)
def test_bad_arch(arch, message):
    with pytest.raises(InputError, match=message):
        ViTDet(arch=arch)


def test_depths_for_layer_decay():
    model = make()
    depth = {name: model.get_layer_depth(name)[0] for name, _ in model.named_parameters()}
    assert depth['pos_embed'] == depth['patch_embed.projection.weight'] == 0
    assert depth['layers.4.attn.rel_pos_h'] == 5
