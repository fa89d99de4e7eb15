"""Sources of saliency against full attention matrices and features captured by hooks."""

import amt_mm.registry  # noqa: F401  isort: skip  before mmpretrain

import numpy as np
import pytest
import torch
from mmpretrain.models import BEiTViT, VisionTransformer
from torch import nn

from amt_mm.errors import InputError
from amt_mm.saliency import (
    SaliencySource,
    cls_attention,
    cls_saliency,
    debias,
    received_attention,
)

HEADS, WIDTH, PATCH, SIZE, DEPTH = 3, 24, 8, (40, 56), 3  # grid 5 x 7
ARCH = dict(embed_dims=WIDTH, num_layers=DEPTH, num_heads=HEADS, feedforward_channels=32)


@pytest.fixture
def vit():
    """In training mode, with dropout, and with attention that is far from uniform."""
    torch.manual_seed(0)
    vit = VisionTransformer(ARCH, img_size=SIZE, patch_size=PATCH, drop_rate=.5)
    with torch.no_grad():
        for parameter in vit.parameters():
            scale = .5 if parameter.ndim == 1 else 1.5 / parameter[0].numel()**.5
            parameter.add_(torch.randn_like(parameter) * scale)
    vit.train()
    return vit


def images(batch=3, seed=1):
    return torch.randn(batch, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def explicit(vit, inputs):
    """Attention (depth, B, heads, 1 + N, 1 + N) of all blocks and the output of the last."""
    seen, outputs = [], []
    handles = [layer.attn.qkv.register_forward_hook(lambda *given: seen.append(given[2]))
               for layer in vit.layers]
    handles.append(vit.layers[-1].register_forward_hook(lambda *given: outputs.append(given[2])))
    vit.eval()
    with torch.no_grad():
        vit(inputs)
    vit.train()
    for handle in handles:
        handle.remove()
    matrices = np.empty((DEPTH, len(inputs), HEADS, 36, 36))
    for depth, qkv in enumerate(seen):
        qkv = qkv.double().numpy().reshape(len(inputs), 36, 3, HEADS, WIDTH // HEADS)
        for sample in range(len(inputs)):
            for head in range(HEADS):
                q, k = qkv[sample, :, 0, head], qkv[sample, :, 1, head]
                exponent = np.exp(q @ k.T / (WIDTH // HEADS)**.5)
                matrices[depth, sample, head] = exponent / exponent.sum(axis=1, keepdims=True)
    return matrices, outputs[0].double().numpy()


def scaled(maps):
    low, high = maps.min(axis=-1, keepdims=True), maps.max(axis=-1, keepdims=True)
    return (maps - low) / (high - low)


LAYERS = {'last': [2], 'mean': [0, 1, 2], 0: [0], 1: [1], -1: [2], -3: [0]}


@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize('layers', LAYERS)
@pytest.mark.parametrize('source', ['cls', 'all'])
def test_attention_of_any_block_equals_the_explicit_softmax(vit, source, layers, batch):
    inputs = images(batch)
    attention = {'cls': cls_attention, 'all': received_attention}[source]
    modes = [module.training for module in vit.modules()]
    found = attention(vit, inputs, layers)
    assert found.dtype == torch.float32 and not found.requires_grad
    assert modes == [module.training for module in vit.modules()]
    assert not any(module._forward_pre_hooks for module in vit.modules())
    matrices = explicit(vit, inputs)[0]
    rows = matrices[..., 0, 1:] if source == 'cls' else matrices.mean(axis=3)[..., 1:]
    wanted = np.concatenate([rows[depth] for depth in LAYERS[layers]], axis=1)
    assert wanted.shape == found.shape and wanted.std() > .002
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-6)
    for normalize in ('map', 'head'):
        maps = SaliencySource(source, layers, normalize).maps(vit, inputs)
        one = (scaled(rows[LAYERS[layers]].mean(axis=(0, 2))) if normalize == 'map'
               else scaled(wanted).mean(axis=1))
        np.testing.assert_allclose(maps.numpy(), one, rtol=0, atol=1e-4)


def test_default_equals_cls_saliency_bit_for_bit(vit):
    inputs = images()
    assert torch.equal(SaliencySource().maps(vit, inputs), cls_saliency(vit, inputs))
    assert torch.equal(SaliencySource(normalize='head').maps(vit, inputs),
                       cls_saliency(vit, inputs, 'head'))
    assert SaliencySource().required_means == ()


def test_blocks_after_the_selected_one_do_not_run(vit):
    ran = []
    for depth, layer in enumerate(vit.layers):
        layer.attn.proj.register_forward_hook(lambda *_, depth=depth: ran.append(depth))
    for layers in ('last', 'mean', 1):
        SaliencySource(layers=layers).maps(vit, images(1))
    assert ran == [0, 1, 0, 1, 0]


def test_features_against_numpy(vit):
    inputs, source = images(), SaliencySource('feature')
    assert source.required_means == ('feature', )
    values, counts = source.values_to_average('feature', vit, inputs, {})
    features = explicit(vit, inputs)[1][:, 1:]
    assert counts.tolist() == [True] * 3
    np.testing.assert_allclose(values.numpy(), features, rtol=1e-4, atol=1e-5)
    mean = np.random.RandomState(0).randn(35, WIDTH)
    found = source.maps(vit, inputs, {'feature': torch.from_numpy(mean).float()})
    wanted = np.empty((3, 35))
    for sample in range(3):
        left = features[sample] - mean
        left = left - sum(left) / 35
        wanted[sample] = [sum(value**2 for value in token)**.5 for token in left]
    np.testing.assert_allclose(found.numpy(), scaled(wanted), rtol=0, atol=1e-4)


@pytest.mark.parametrize('source', ['cls', 'all', 'feature'])
def test_debiasing_against_numpy(vit, source):
    inputs, chance = images(), np.random.RandomState(1)
    means = {'feature': torch.from_numpy(chance.randn(35, WIDTH)).float()}
    source = SaliencySource(source, debias=True)
    assert source.required_means[-1] == 'map'
    before, counts = source.values_to_average('map', vit, inputs, means)
    assert counts.all() and torch.equal(before.amax(dim=1), torch.ones(3))
    mean_map = chance.rand(35)
    mean_map[4] = 0  # never attended elsewhere
    means['map'] = torch.from_numpy(mean_map).float()
    found = source.maps(vit, inputs, means)
    wanted = scaled(before.double().numpy() / (mean_map + .1 * mean_map.mean()))
    np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=1e-4)
    assert (found - before).abs().max() > .1


@pytest.mark.parametrize('source', [
    SaliencySource(), SaliencySource('all', 'mean', 'head'), SaliencySource('feature'),
    SaliencySource('cls', debias=True), SaliencySource('feature', debias=True)], ids=str)
def test_image_that_is_not_finite_affects_only_its_own_map(vit, source):
    inputs = images()
    means = {'feature': torch.ones(35, WIDTH), 'map': torch.linspace(.1, 1, 35)}
    wanted = source.maps(vit, inputs, means)
    inputs[1, 0, 20, 20] = float('nan')
    found = source.maps(vit, inputs, means)
    assert found[1].tolist() == [0] * 35
    torch.testing.assert_close(found[[0, 2]], wanted[[0, 2]])
    for name in source.required_means:
        assert source.values_to_average(name, vit, inputs, means)[1].tolist() == [True, False, True]


def test_debiased_maps_that_equal_their_mean_are_zeros():
    maps = torch.zeros(2, 4)
    maps[1] = torch.tensor([.5, 1., 0, .25])
    assert debias(maps, torch.full((4, ), .3))[0].tolist() == [0] * 4
    assert debias(maps, torch.zeros(4)).tolist() == [[0] * 4] * 2


def beit(**kwargs):
    return BEiTViT(dict(ARCH), img_size=SIZE, patch_size=PATCH, use_abs_pos_emb=False, **kwargs)


@pytest.mark.parametrize(('source', 'field'), [
    (dict(source='cls', layers=3), 'layers=3'), (dict(source='all', layers=-4), 'layers=-4')])
def test_missing_block_is_reported_in_one_line(vit, source, field):
    for act in (SaliencySource(**source).check,
                lambda vit: SaliencySource(**source).maps(vit, images())):
        with pytest.raises(InputError, match=f'{field}.*has 3 blocks, 0 to 2') as caught:
            act(vit)
        assert '\n' not in str(caught.value)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('layers', ['last', 'mean', 0])
def test_other_attention_is_rejected_in_any_block(layers):
    with pytest.raises(InputError, match='plain softmax'):
        SaliencySource(layers=layers).check(beit(use_rel_pos_bias=True))
    with pytest.raises(InputError, match='qkv'):
        SaliencySource(layers=layers).check(nn.Sequential(nn.Conv2d(3, 8, 3)))


@pytest.mark.parametrize(('settings', 'field'), [
    (dict(source='value'), "source='value'"), (dict(layers='all'), "layers='all'"),
    (dict(layers=True), 'layers=True'), (dict(layers=[0, 1]), r'layers=\[0, 1\]'),
    (dict(normalize='rows'), "normalize='rows'"), (dict(debias=1), 'debias=1'),
    (dict(source='feature', layers='mean'), "layers='mean'.*remove layers"),
    (dict(source='feature', layers=1), 'layers=1'),
    (dict(source='feature', normalize='head'), "normalize='head'.*remove normalize")])
def test_invalid_settings_are_reported_in_one_line(settings, field):
    with pytest.raises(InputError, match=f'^{field}') as caught:
        SaliencySource(**settings)
    assert '\n' not in str(caught.value)


def test_means_in_one_process_are_those_over_all_images(vit):
    source = SaliencySource('feature', debias=True)
    batches = [images(3, seed=1), images(2, seed=2)]
    batches[1][1] = float('nan')  # counts in neither mean
    found = source.means(vit, lambda: iter(batches))
    assert list(found) == ['feature', 'map']
    every = torch.cat([batches[0], batches[1][:1]])
    features = source.extract(vit, every)
    torch.testing.assert_close(found['feature'], features.mean(dim=0))
    plain = SaliencySource('feature').maps(vit, every, found)
    torch.testing.assert_close(found['map'], plain.mean(dim=0))
    assert SaliencySource().means(vit, lambda: 1 / 0) == {}
